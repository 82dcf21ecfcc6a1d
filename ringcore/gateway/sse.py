"""Server-sent events as a response that notices at once when the client goes away.

Owns the wire format of a stream, that it is never silent for long, and watching for a disconnect; knows
nothing of what is streamed.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ringcore.gateway.choices import Choices
from ringcore.gateway.errors import ApiFault

_T = TypeVar("_T")
# Proxies and clients give up on a connection that says nothing: a long prompt is being read, or a call of a
# tool is held back until it is whole.
SILENCE_SECONDS = 5.0
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would gather tokens
]


class EventStream(Response):
    """Each value of ``events`` as one ``data:`` line, then ``[DONE]``. Where there is none for
    `SILENCE_SECONDS`, a comment says how far the prompt is read, as mlx-lm's own server does.

    An `ApiFault` before the first event is an ordinary error response, one later becomes the last event,
    without ``[DONE]``. ``answer`` is left in every case.
    """

    def __init__(self, answer: Choices, events: AsyncGenerator[Mapping[str, Any]]) -> None:
        super().__init__()
        self._answer = answer
        self._events = events
        self._sent = 0.0  # the loop's time

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._answer, contextlib.aclosing(self._events):
            await until_disconnect(receive, self._send_all(scope, receive, send))

    async def _send_all(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._answer.settle()
        except ApiFault as fault:
            await fault.response()(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
        self._sent = asyncio.get_running_loop().time()
        breaking = asyncio.create_task(self._break_silence(send), name="silence")
        try:
            async for event in self._events:
                await self._send_data(send, msgspec.json.encode(event))
            await self._send_data(send, b"[DONE]")
        except ApiFault as fault:
            await self._send_data(send, msgspec.json.encode(fault.body))
        finally:
            breaking.cancel()
            await asyncio.wait({breaking})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_data(self, send: Send, data: bytes) -> None:
        await send({"type": "http.response.body", "body": b"data: " + data + b"\n\n", "more_body": True})
        self._sent = asyncio.get_running_loop().time()

    async def _break_silence(self, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            if (left := self._sent + SILENCE_SECONDS - clock()) > 0:
                await asyncio.sleep(left)
                continue
            done, of = self._answer.read
            comment = f": keepalive {done}/{of}\n\n".encode()
            await send({"type": "http.response.body", "body": comment, "more_body": True})
            self._sent = clock()


async def until_disconnect(receive: Receive, work: Coroutine[Any, Any, _T]) -> _T | None:
    """The result of ``work``, or None when the client left first (``work`` is cancelled then)."""
    working = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_disconnected(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
