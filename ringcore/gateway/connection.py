"""A connection of a client: uvicorn's own, with bounds on those who never finish asking or are gone.

uvicorn waits for ever for the head of a request, and takes one of any length. Knows nothing of requests.
"""

import asyncio
import contextlib
import json
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


class Connection(HttpToolsProtocol):
    """``_waiting`` is the timer of a head that is on its way, None while there is none."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        _watch_peer(transport.get_extra_info("socket"))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_came()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._head_bytes += len(data)
        super().data_received(data)
        if self._waiting is not None and self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        self._head_came()
        super().on_headers_complete()

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
