"""One rank's two ends of the ring: receive from the stage before, send to the stage after.

Protocol. All traffic flows one way around: stage s -> s + 1 -> ... -> last, and over the *wrap link*
from the last back to the first. Rank 0 (the leader) is the last stage in reverse order and the first
in forward order. It decides every step; each step travels once around and comes back to the leader,
in order, which acknowledges it. A message is a header (`ringcore.rank.header`) and the payload it
announces: token ids on the way into the first stage, hidden states between stages, the sampling
parameters of an OPEN. Drawn tokens come back in the header's rows. So the wrap link carries headers and,
in reverse order, what goes into the first stage: ids of prompts and OPEN payloads; in forward order,
what comes out of the last: the log-probabilities of the rows that asked for them.

Why a send never deadlocks. MLX's send blocks when the kernel's buffers are full, and each rank does
one thing at a time: receive, compute, send. Without the wrap link the stages are a chain, and in a
chain a blocked send ends when the next stage is done with its step; the last stage always is, as
long as *its* send does not block: that is the wrap link. `WRAP_BYTES` bounds what is outstanding on
it, which fits into the socket buffers of every platform (128 KiB is the least there is: macOS), so a
send on it returns whether or not anybody receives. Hence the leader may put several steps on the ring
before it takes one off, and needs no second thread.

The bound holds because steps in flight are counted (`max_in_flight`); because ids of prompts and OPEN
payloads in flight share one budget that the engine keeps (`max_prompt_tokens`, at least
`MAX_OPEN_BYTES`); and because a sequence has one row that draws in flight at a time (lookahead 1), so
there are log-probabilities of ``sequences`` tokens at once at most, and as many hidden states that go
into a shared head.

Where two stages share the head (``Plan.head_rows``), a step that draws goes round twice: as a RUN through
the layers, then with what came out of them as a HEAD to the first stage, and with its part of the logits
as a DRAW to the last (`ringcore.rank.shared`). Those overtake what waits for layers (`ringcore.rank.inbox`).

One stream carries all communication, and each operation is evaluated by itself, apart from compute:
MLX matches sends and receives by order alone, and on Metal a GPU that waits for a peer can meet the
watchdog. A pending receive spins, so a rank sleeps until there is something to receive
(`ringcore.rank.doorbell`), and nobody sits in one while the ring is idle (parking).
"""

import time
from typing import Protocol, cast

import mlx.core as mx
from msgspec import structs

from ringcore.engine.logprobs import MAX_ROW_BYTES
from ringcore.engine.opening import MAX_OPEN_BYTES
from ringcore.engine.step import Operation, Step
from ringcore.rank.header import Announced, Format, Payload, decode, encode, header_words
from ringcore.spec.errors import RingError

WRAP_BYTES = 64 << 10


def max_in_flight(stages: int) -> int:
    """Steps of every kind that may be on the ring at once."""
    return 4 * stages + 8


def max_prompt_tokens(stages: int, sequences: int, head_bytes: int = 0) -> int:
    """Ids of prompts that may be on the wrap link at once, beside the headers of all steps in flight. Four
    bytes of an OPEN's payload count as one. ``head_bytes``: of a row of a HEAD, 0 where no head is shared.

    Raises `RingError` when the headers leave too little of `WRAP_BYTES`.
    """
    headers = max_in_flight(stages) * 4 * header_words(sequences)
    hidden = sequences * head_bytes
    # What a row brings back in order "forward" comes when the first stage has taken its hidden state.
    others = max(hidden + MAX_OPEN_BYTES, sequences * max(MAX_ROW_BYTES, head_bytes))
    if headers + others > WRAP_BYTES:
        raise RingError(
            f"{stages} ranks with {sequences} sequences need {headers + others} bytes on the wrap link "
            f"at once, {WRAP_BYTES} are safe",
            "use fewer ranks, or lower ring.sequences",
        )
    return (WRAP_BYTES - headers - hidden) // 4


class Wire(Protocol):
    """Arrays to and from the two neighbours, in order; evaluated on return. Raises `RingError`."""

    def send(self, array: mx.array) -> None: ...

    @property
    def waiting(self) -> bool: ...

    def receive(self, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array: ...


class Message:
    """A step with what travelled with it: hidden states (tokens, D), of a DRAW logits, or None."""

    __slots__ = ("hidden", "step")

    def __init__(self, step: Step, hidden: mx.array | None = None) -> None:
        self.step = step
        self.hidden = hidden


class Link:
    """Framed, checked messages over a `Wire`. ``incoming`` and ``outgoing`` differ in their hop only.

    ``waited`` counts seconds in receive since it was made.
    """

    def __init__(self, wire: Wire, incoming: Format, outgoing: Format) -> None:
        self._wire = wire
        self._incoming = incoming
        self._outgoing = outgoing
        self._dtype: mx.Dtype = getattr(mx, incoming.dtype)
        self._sent = 0
        self._due = 1
        self.waited = 0.0

    def send(self, step: Step, hidden: mx.array | None = None) -> None:
        """Header, then ids, bytes or ``hidden`` (tokens, D) as the step has them; of a DRAW logits."""
        body: mx.array | None = None
        payload = Payload.NONE
        if hidden is not None:
            payload = Payload.LOGITS if step.operation is Operation.DRAW else Payload.HIDDEN
            body = hidden
        elif step.payload:
            draws = step.operation in (Operation.RUN, Operation.DRAW)
            payload = Payload.LOGPROBS if draws else Payload.BYTES
            body = mx.array(list(step.payload), dtype=mx.uint8)
        elif step.tokens and not step.single:
            payload, body = Payload.IDS, mx.array(step.tokens, dtype=mx.int32)
        self._sent += 1
        words = encode(step, payload, self._outgoing, self._sent)
        self._wire.send(mx.array(words, dtype=mx.int32))
        if body is not None:
            self._wire.send(body)

    @property
    def waiting(self) -> bool:
        """Whether a message is there, or on its way to be."""
        return self._wire.waiting

    def receive(self) -> Message:
        """The next message, complete. Raises `RingError` when it is not the one that is due."""
        began = time.perf_counter()
        words = self._wire.receive((self._incoming.words,), mx.int32)
        announced = decode(_ints(words), self._due, self._incoming)
        self._due += 1
        message = self._with_payload(announced)
        self.waited += time.perf_counter() - began
        return message

    def _with_payload(self, announced: Announced) -> Message:
        step = announced.step
        if width := self._incoming.width(announced.payload):
            shape = (step.token_count, width)
            return Message(step, self._wire.receive(shape, self._dtype))
        if announced.payload is Payload.IDS:
            ids = self._wire.receive((step.token_count,), mx.int32)
            return Message(structs.replace(step, tokens=tuple(_ints(ids))))
        if announced.payload in (Payload.BYTES, Payload.LOGPROBS):
            data = self._wire.receive((announced.payload_bytes,), mx.uint8)
            return Message(structs.replace(step, payload=bytes(_ints(data))))
        return Message(step)


def _ints(array: mx.array) -> list[int]:
    return cast(list[int], array.tolist())
