"""From a request's tokens to pieces of its text: the one path that every endpoint's answer takes.

Owns the joining of ledger, detokeniser and stop strings, and that a request nobody reads any more is
cancelled on the ring. Knows nothing of HTTP's bodies.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Literal

from msgspec import Struct, structs

from ringcore.gateway.detokenize import Decode, Detokenizer
from ringcore.gateway.engine import Engine
from ringcore.gateway.errors import ApiFault, invalid, unavailable
from ringcore.gateway.ledger import Arrival, Ledger, Request
from ringcore.gateway.logprobs import Held, Scored
from ringcore.gateway.parameters import Common
from ringcore.gateway.stops import Stops
from ringcore.gateway.text import Text
from ringcore.spec.engine import Finished, Read, Refused, Token

_MOST_SEED = 2**63 - 1


class Piece(Struct, frozen=True, kw_only=True):
    """Some text of an answer; the last one says why it ended. ``scored``: the tokens whose text begins in it,
    when log-probabilities were asked for. ``read``: no text, but so much of the prompt is computed."""

    text: str = ""
    scored: tuple[Scored, ...] = ()
    finish_reason: Literal["stop", "length"] | None = None
    read: int = 0


class Answer:
    """One answer on its way. Use as ``async with``: leaving early cancels it on the ring."""

    def __init__(
        self,
        ledger: Ledger,
        request: Request,
        text: Text,
        stops: Sequence[str],
        logprobs: bool,
        decode: Decode,
    ) -> None:
        self.request = request
        self.logprobs = logprobs  # they were asked for
        self.token_bytes = text.token_bytes
        self._ledger = ledger
        self._detokenizer = Detokenizer(decode)
        self._stops = Stops(stops)
        self._tokens = 0

    async def __aenter__(self) -> "Answer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ledger.leave(self.request, answered=False)

    @property
    def tokens(self) -> int:
        """That made up the text so far."""
        return self._tokens

    def enough(self) -> None:
        """The client has what it asked for, though more might come."""
        self._ledger.leave(self.request, answered=True)

    async def settle(self) -> None:
        """Give rank 0 a moment to refuse, while an HTTP status can still say so. Raises `ApiFault`."""
        await self.request.settle()
        if self.request.failed is not None:
            raise _fault(self.request.failed)

    async def pieces(self) -> AsyncGenerator[Piece]:
        """Raises `ApiFault` when the ring refuses the request, or is lost under it."""
        held = Held()
        while True:
            arrival = await self.request.queue.get()
            if isinstance(arrival, Read):
                yield Piece(read=arrival.tokens)
            elif isinstance(arrival, Token):
                self._tokens += 1
                text = self._detokenizer.push(arrival.token)
                if self.logprobs:
                    held.push(arrival, text)
                text = self._stops.push(text)
                if self._stops.found:
                    self._ledger.leave(self.request, answered=True)
                    yield Piece(text=text, scored=held.shown(text), finish_reason="stop")
                    return
                if text:
                    yield Piece(text=text, scored=held.shown(text))
            elif isinstance(arrival, Finished) and arrival.reason != "cancelled":
                text = self._stops.push(self._detokenizer.flush())
                if self._stops.found:
                    yield Piece(text=text, scored=held.shown(text), finish_reason="stop")
                else:
                    text += self._stops.flush()
                    yield Piece(text=text, scored=held.rest(), finish_reason=arrival.reason)
                return
            else:
                raise _fault(arrival)


class Generator:
    """Starts answers. Everything that depends on the model's size is checked here."""

    def __init__(self, engine: Engine, ledger: Ledger, text: Text) -> None:
        self.text = text
        self._engine = engine
        self._ledger = ledger

    def start(
        self,
        prompt: list[int],
        parameters: Common,
        field: str,
        *,
        decode: Decode | None = None,
        grammar: str = "",
    ) -> list[Answer]:
        """As many answers as ``parameters.n``; seeds are counted up from the given one. ``grammar`` is what
        they follow, "" for none. Raises `ApiFault`: 503 while the ring is not ready, 400 that names
        ``field``, where the prompt came from, when it cannot hold the request."""
        ready = self._engine.ready
        if ready is None:
            raise unavailable(self._engine.reason)
        asked, room = parameters.limit, ready.context - len(prompt)
        if not prompt:
            raise invalid("the prompt is empty", param=field)
        if room < 1 or (asked is not None and asked > room):
            wanted = f" and asks for {asked} more" if asked is not None else ""
            raise invalid(
                f"the prompt has {len(prompt)} tokens{wanted}; this ring's context is {ready.context} tokens",
                param=field,
                code="context_length_exceeded",
            )
        if max(prompt) >= ready.vocab_size or min(prompt) < 0:
            raise invalid(f"a token id of the prompt is not in 0..{ready.vocab_size - 1}", param=field)
        wrong = next((token for token in parameters.logit_bias if token >= ready.vocab_size), None)
        if wrong is not None:
            raise invalid(
                f"logit_bias: token id {wrong} is not in 0..{ready.vocab_size - 1}", param="logit_bias"
            )
        limit, ends = asked if asked is not None else room, sorted(self.text.end_tokens)
        sampling = structs.replace(parameters.sampling, grammar=grammar)
        logprobs = parameters.asked_logprobs is not None
        decode = decode or self.text.decode
        answers: list[Answer] = []
        for number in range(parameters.n):
            if number and sampling.seed is not None:
                sampling = structs.replace(sampling, seed=(sampling.seed + 1) & _MOST_SEED)
            request = self._ledger.submit(prompt, limit, ends, sampling)
            answers.append(Answer(self._ledger, request, self.text, parameters.stops, logprobs, decode))
        return answers


def _fault(arrival: Arrival) -> ApiFault:
    if isinstance(arrival, Refused):
        if arrival.kind == "busy":
            return ApiFault(429, arrival.cause, kind="rate_limit_error", code="queue_full")
        if arrival.kind == "memory":
            return ApiFault(503, arrival.cause, kind="server_error", code="short_of_memory")
        return invalid(arrival.cause)
    if isinstance(arrival, Finished | Read | Token):
        return unavailable("the ring ended this request")
    return unavailable(f"the ring was lost in the middle of this answer: {arrival.reason}")
