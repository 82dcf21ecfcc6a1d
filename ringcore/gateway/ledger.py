"""The unfinished requests: who waits for which tokens, and what is reported of each.

Owns a request's life from `Submit` to its last message, and its figures; knows nothing of text or HTTP.
"""

import asyncio
import time
import uuid
from typing import Literal

from msgspec import Struct

from ringcore.gateway.control import Report
from ringcore.gateway.engine import Engine, RequestMessage
from ringcore.gateway.errors import unavailable
from ringcore.gateway.metrics import Metrics
from ringcore.gateway.pulse import Pulse
from ringcore.spec.control import Say
from ringcore.spec.engine import Cancel, Finished, Read, Refused, Sampling, Started, Submit, Token
from ringcore.spec.events import RequestChanged

ENGINE_ANSWER_SECONDS = 1.0
REPORT_SECONDS = 1.0


class Lost(Struct, frozen=True):
    """Rank 0 went away before the request was finished."""

    reason: str


Arrival = Read | Token | Finished | Refused | Lost


class Request:
    """One request on the ring. Times are monotonic seconds."""

    def __init__(self, id: str, prompt_tokens: int) -> None:
        self.id = id
        self.prompt_tokens = prompt_tokens
        self.answered = asyncio.Event()  # rank 0 said something of it
        self.failed: Refused | Lost | None = None
        self.started = False
        self.left = False  # nobody waits for it any more
        self.received = 0  # tokens
        self.cached_tokens = 0  # of the prompt, not computed
        self.read_tokens = 0  # of the prompt, cached ones among them
        self.queue: asyncio.Queue[Arrival] = asyncio.Queue()
        self._began = time.monotonic()
        self._first = self._last = self._told = 0.0

    def progress(self, read: int) -> dict[str, int]:
        """``read`` tokens of its prompt are computed, in the fields that llama.cpp's server has for it."""
        return {
            "total": self.prompt_tokens,
            "cache": self.cached_tokens,
            "processed": read,
            "time_ms": int((time.monotonic() - self._began) * 1000),
        }

    async def settle(self) -> None:
        """Wait for rank 0's first word, a refusal perhaps, but not for a place in its queue."""
        waiter = asyncio.ensure_future(self.answered.wait())
        try:
            await asyncio.wait({waiter}, timeout=ENGINE_ANSWER_SECONDS)
        finally:
            waiter.cancel()

    def count(self) -> float:
        """A token came: seconds since the one before, or since the request was made."""
        before, self._last = self._last or self._began, time.monotonic()
        if not self.received:
            self._first = self._last
        self.received += 1
        return self._last - before

    def due(self) -> bool:
        """It is time to tell how it goes: at the first token, then every `REPORT_SECONDS`."""
        if self.received > 1 and self._last - self._told < REPORT_SECONDS:
            return False
        self._told = self._last
        return True

    def event(self, phase: Literal["queued", "running", "done", "cancelled", "failed"]) -> RequestChanged:
        between = self._last - self._first
        return RequestChanged(
            id=self.id,
            phase=phase,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.received,
            first_token_seconds=self._first - self._began if self.received else 0.0,
            tokens_per_second=(self.received - 1) / between if between > 0 else 0.0,
        )


class Ledger:
    """All requests that rank 0 has not finished."""

    def __init__(self, engine: Engine, report: Report, metrics: Metrics, pulse: Pulse) -> None:
        self._engine = engine
        self._metrics = metrics
        self._pulse = pulse
        pulse.waiting = lambda: len(self._requests)
        metrics.queue = self._queue
        self._report = report
        self._requests: dict[str, Request] = {}
        engine.on_message = self._take
        engine.on_lost = self._fail_all

    def submit(
        self, prompt: list[int], max_tokens: int, stop_tokens: list[int], sampling: Sampling
    ) -> Request:
        """Raises `ApiFault` 503 while the ring is not ready."""
        if self._engine.ready is None:
            raise unavailable(self._engine.reason)
        request = Request(uuid.uuid4().hex, len(prompt))
        if not self._requests:
            self._pulse.moved()
        self._metrics.submitted(len(prompt))
        self._requests[request.id] = request
        self._engine.send(
            Submit(
                id=request.id,
                prompt=prompt,
                max_tokens=max_tokens,
                stop_tokens=stop_tokens,
                sampling=sampling,
            )
        )
        self._report(request.event("queued"))
        return request

    def leave(self, request: Request, *, answered: bool) -> None:
        """Nobody waits for more of it: its place on the ring is freed. ``answered`` when the client has
        all that it asked for (a stop string came)."""
        if request.left or request.id not in self._requests:
            return
        request.left = True
        self._metrics.ended("done" if answered else "cancelled")
        self._engine.send(Cancel(id=request.id))
        self._report(request.event("done" if answered else "cancelled"))

    def _take(self, message: RequestMessage) -> None:
        request = self._requests.get(message.id)
        if request is None:
            return
        if isinstance(message, Token) and message.index != request.received:
            raise ValueError(f"token {message.index} of a request came where {request.received} was due")
        request.answered.set()
        if isinstance(message, Read | Token) or (
            isinstance(message, Finished) and message.reason != "cancelled"
        ):
            self._pulse.moved()  # a refusal or a cancel is a word of rank 0, not a step of the ring
        if isinstance(message, Token):
            self._metrics.token(request.count(), first=request.received == 1)
        elif isinstance(message, Started):
            request.started = True
        elif isinstance(message, Refused):
            request.failed = message
        if isinstance(message, Finished | Refused):
            del self._requests[message.id]
        if request.left:
            return
        if isinstance(message, Started):
            request.cached_tokens = request.read_tokens = message.cached_tokens
            self._metrics.cached(message.cached_tokens)
            self._report(request.event("running"))
            return
        if isinstance(message, Read):
            request.read_tokens = message.tokens
        elif isinstance(message, Token):
            request.read_tokens = request.prompt_tokens
            if request.due():
                self._report(request.event("running"))
        elif isinstance(message, Refused) or message.reason == "cancelled":
            self._metrics.ended("refused" if isinstance(message, Refused) else "failed")
            self._report(request.event("failed"))
        else:
            self._metrics.ended("done")
            self._report(request.event("done"))
        request.queue.put_nowait(message)

    def _queue(self) -> tuple[int, int]:
        running = sum(request.started for request in self._requests.values())
        return len(self._requests) - running, running

    def _fail_all(self, reason: str) -> None:
        requests, self._requests = self._requests, {}
        if requests:
            self._report(
                Say(level="WARNING", text=f"{len(requests)} unfinished requests broken off: {reason}")
            )
        for request in requests.values():
            request.failed = Lost(reason)
            request.answered.set()
            if not request.left:
                self._metrics.ended("failed")
                self._report(request.event("failed"))
                request.queue.put_nowait(request.failed)
