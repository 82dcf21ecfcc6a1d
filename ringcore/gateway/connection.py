"""A connection of a client: uvicorn's own, with bounds on those who never finish asking or are gone.

uvicorn waits for ever for the head of a request, and takes one of any length. And its parser takes what
follows a head that offers another protocol for that protocol: Java's own client offers HTTP/2 with its first
request, whose body would be lost. Knows nothing of requests.
"""

import asyncio
import contextlib
import json
import re
import socket
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 30.0  # from the connection, or the first byte, to the end of the head
HEAD_BYTES = 64 << 10
# A host that lost power says nothing: after this a connection to it, or one that takes no data, is given up.
GONE_SECONDS = 300
# Longer than clients keep an unused connection (httpx 5 s, browsers 60 s and more): who closes first must not
# be the one who is being asked.
IDLE_SECONDS = 75

_HEAD_END = re.compile(rb"\r?\n\r?\n")
_OFFER = re.compile(rb"(\r?\n)upgrade:", re.IGNORECASE)


class Connection(HttpToolsProtocol):
    """``_waiting``: the timer of a head on its way, None while there is none. ``_head``: what has come of one
    between two requests."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: asyncio.TimerHandle | None = None
        self._head_bytes = 0
        self._head = b""
        self._in_request = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _watch_peer(transport.get_extra_info("socket"))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        if not self._in_request:
            data = self._whole_head(data)
        if data:
            super().data_received(data)
        if self._waiting is not None and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        self._in_request = True
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_request = False
        super().on_message_complete()

    def _whole_head(self, data: bytes) -> bytes:
        """With ``data``: the head from its first byte, without offers of other protocols, and what follows
        it; nothing while it is not whole."""
        data, self._head = (self._head + data).lstrip(b"\r\n"), b""
        if not data[:1].isalpha():
            return data  # no request at all, as uvicorn will say
        end = _HEAD_END.search(data)
        if end is None:
            self._head = data
            self._unset_keepalive_if_required()
            self._await_head()
            return b""
        return _OFFER.sub(rb"\1x-upgrade:", data[: end.end()]) + data[end.end() :]

    def _await_head(self) -> None:
        if self._waiting is None:
            self._head_bytes = 0
            self._waiting = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def _head_came(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def _give_up(self) -> None:
        self._waiting = None
        answering = self.cycle  # None before the first request
        if answering and not answering.response_complete:
            # Nothing is read beside an answer that others wait behind: the rest of this head may be there.
            self._await_head()
        elif not self.transport.is_closing():
            self.transport.close()

    def _refuse(self) -> None:
        message = f"the head of the request is larger than {HEAD_BYTES} bytes"
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": "head_too_large"}
        body = json.dumps({"error": error}).encode()
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(body), body)
        )
        self.transport.close()


def _watch_peer(connection: Any) -> None:
    """What a system does not know it does without."""
    wanted = (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", GONE_SECONDS // 5),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", GONE_SECONDS // 5),  # macOS's name for it
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", GONE_SECONDS // 5),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 4),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", GONE_SECONDS * 1000),
    )
    for level, name, value in wanted:
        if hasattr(socket, name):
            with contextlib.suppress(OSError):
                connection.setsockopt(level, getattr(socket, name), value)
