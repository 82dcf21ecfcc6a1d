"""The fixed int32 header in front of every payload, and the check of each of its fields.

MLX's links have no framing: whatever is posted is filled with whatever comes. So every message is a
header of `header_words` words, whose length both sides know from the plan, and then the payload the
header announces (none, or exactly one)::

    0 magic   1 epoch   2 number   3 operation   4 rows   5 payload kind   6 payload bytes
    7 tokens  8 width   9 dtype   10 plan       11 hop   12 microseconds  13 step
    then for each of `max_rows` rows:  slot  count  position  flags  token   (zeros when unused)

``epoch`` and ``plan`` (31 bits of the plan's digest) say that both ends belong to the same ring,
``number``, counted on each link, that no message was lost or doubled, ``hop`` (pipeline stage of the
sender) that it came the right way. ``tokens`` x ``width`` in ``dtype`` is the shape of the payload,
``microseconds`` the longest that a stage has worked on the step, ``step`` the step's number in the epoch.
A field that is not what it must be is fatal: there is no way to find the start of the next message.

Knows nothing of arrays or sockets: words are plain ints.
"""

from collections.abc import Sequence
from enum import IntEnum

from msgspec import Struct

from ringcore.engine.step import HEAD_OPERATIONS, Operation, Row, Step
from ringcore.spec.errors import RingError

MAGIC = 0x4D4C5852  # "MLXR"
_FIXED = 14
_ROW = 5
_SAMPLE = 1
_MOST = (1 << 31) - 1
MAX_PAYLOAD_BYTES = 1 << 16


class Payload(IntEnum):
    NONE = 0
    IDS = 1  # tokens x int32
    HIDDEN = 2  # tokens x width of the plan's dtype
    BYTES = 3  # uint8
    LOGPROBS = 4  # uint8, on the way back of what drew
    LOGITS = 5  # tokens x head rows of the plan's dtype


_FITTING = {  # payloads that an operation may have, beside none
    Operation.RUN: (Payload.IDS, Payload.HIDDEN, Payload.LOGPROBS),
    Operation.OPEN: (Payload.BYTES,),
    Operation.STORE: (Payload.BYTES,),
    Operation.LOAD: (Payload.BYTES,),
    Operation.FORGET: (Payload.BYTES,),
    Operation.FETCH: (Payload.BYTES,),
    Operation.HEAD: (Payload.HIDDEN,),
    Operation.DRAW: (Payload.LOGITS, Payload.LOGPROBS),
}
_LOOSE = (Payload.BYTES, Payload.LOGPROBS)  # of any length
_WITHOUT_ROWS = (Operation.PARK, Operation.STOP, Operation.FORGET)
DTYPES = {"float32": (1, 4), "float16": (2, 2), "bfloat16": (3, 2)}  # name -> code, bytes


class Format(Struct, frozen=True, kw_only=True):
    """What both ends of a link know before the first message. ``hop`` is the sender's stage, ``head_rows``
    the first stage's part of a shared head."""

    epoch: int
    plan: int
    sequences: int
    hidden_size: int
    dtype: str
    hop: int
    head_rows: int = 0

    def width(self, payload: Payload) -> int:
        """Numbers in the plan's dtype for each token of the step."""
        if payload is Payload.HIDDEN:
            return self.hidden_size
        return self.head_rows if payload is Payload.LOGITS else 0

    @property
    def words(self) -> int:
        """Length of the header in int32 words."""
        return header_words(self.sequences)


class Announced(Struct, frozen=True):
    """A checked header: the step (without ids and bytes, those are the payload) and its payload."""

    step: Step
    payload: Payload
    payload_bytes: int


def header_words(sequences: int) -> int:
    """int32 words of every header in a ring of that many sequences."""
    return _FIXED + _ROW * max_rows(sequences)


def max_rows(sequences: int) -> int:
    """Rows that one step may have."""
    return min(sequences, 16)


def encode(step: Step, payload: Payload, form: Format, number: int) -> list[int]:
    """The words of the ``number``th header on a link, for ``step`` with ``payload`` behind it."""
    code, _ = DTYPES[form.dtype]
    width = form.width(payload)
    words = [
        MAGIC,
        form.epoch,
        number,
        int(step.operation),
        len(step.rows),
        int(payload),
        payload_bytes(step, payload, form, len(step.payload)),
        step.token_count,
        width,
        code if width else 0,
        form.plan,
        form.hop,
        min(step.microseconds, _MOST),
        step.number,
    ]
    for row in step.rows:
        words += [row.slot, row.count, row.position, _SAMPLE if row.sample else 0, row.token]
    return words + [0] * (form.words - len(words))


def decode(words: Sequence[int], due: int, form: Format) -> Announced:
    """Check every field of a header that must have the number ``due``.

    Raises `RingError` with the value that came and the one that was due.
    """
    _same("length", len(words), form.words)
    _same("magic", words[0], MAGIC)
    _same("epoch", words[1], form.epoch)
    _same("plan", words[10], form.plan)
    _same("sending stage", words[11], form.hop)
    _same("number", words[2], due)
    if words[3] not in Operation.__members__.values():
        raise _wrong("operation", words[3], f"one of {[int(o) for o in Operation]}")
    operation = Operation(words[3])
    if operation in _WITHOUT_ROWS:
        _same("rows", words[4], 0)
    elif not 1 <= words[4] <= max_rows(form.sequences):
        raise _wrong("rows", words[4], f"1 to {max_rows(form.sequences)}")
    kinds = (Payload.NONE, *_FITTING.get(operation, ()))
    if words[5] not in kinds:
        raise _wrong("payload kind", words[5], f"one of {[int(p) for p in kinds]} for {operation.name}")
    least = 1 if operation in (Operation.RUN, *HEAD_OPERATIONS) else 0
    if words[12] < 0:
        raise _wrong("time", words[12], "at least 0")
    if words[13] < 1:
        raise _wrong("step", words[13], "at least 1")
    rows = tuple(_row(words, index, form, least) for index in range(words[4]))
    step = Step(operation, rows, number=words[13], microseconds=words[12])
    payload = Payload(words[5])
    _same("tokens", words[7], step.token_count)
    code, _ = DTYPES[form.dtype]
    width = form.width(payload)
    _same("width", words[8], width)
    _same("dtype", words[9], code if width else 0)
    if payload in _LOOSE and not 0 < words[6] <= MAX_PAYLOAD_BYTES:
        raise _wrong("payload bytes", words[6], f"1 to {MAX_PAYLOAD_BYTES}")
    _same("payload bytes", words[6], payload_bytes(step, payload, form, words[6]))
    return Announced(step, payload, words[6])


def payload_bytes(step: Step, payload: Payload, form: Format, loose: int) -> int:
    """Bytes that follow the header; ``loose`` is the length of a payload that can have any."""
    if payload is Payload.IDS:
        return 4 * step.token_count
    if payload in _LOOSE:
        return loose
    return DTYPES[form.dtype][1] * form.width(payload) * step.token_count


def _row(words: Sequence[int], index: int, form: Format, least: int) -> Row:
    at = _FIXED + _ROW * index
    slot, count, position, flags, token = words[at : at + _ROW]
    if not 0 <= slot < form.sequences:
        raise _wrong(f"slot of row {index}", slot, f"0 to {form.sequences - 1}")
    if count < least:
        raise _wrong(f"tokens of row {index}", count, f"at least {least}")
    if position < 0:
        raise _wrong(f"position of row {index}", position, "at least 0")
    if flags not in (0, _SAMPLE):
        raise _wrong(f"flags of row {index}", flags, f"0 or {_SAMPLE}")
    return Row(slot, count, position, flags == _SAMPLE, token)


def _same(name: str, got: int, due: int) -> None:
    if got != due:
        raise _wrong(name, got, str(due))


def _wrong(name: str, got: int | str, due: str) -> RingError:
    return RingError(
        f"a message with the wrong {name} came over the link: got {got}, expected {due}",
        "all ranks must run the same version and plan; stop the ring and start it again",
    )
