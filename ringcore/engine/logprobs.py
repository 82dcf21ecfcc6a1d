"""Log-probabilities as words of int32, the way they come off the device and travel back to rank 0.

One token's words: ``bits of its logarithm, n ids, bits of their n logarithms`` (float32). A step's
payload: for each row the number of its words, then the words. Knows nothing of arrays or links.
"""

import struct
from collections.abc import Sequence

from ringcore.spec.engine import MAX_TOP_LOGPROBS, Logprobs

Words = Sequence[int]
MAX_ROW_BYTES = 4 * (2 + 2 * MAX_TOP_LOGPROBS)


def pack(rows: Sequence[Words]) -> bytes:
    """A step's payload; nothing at all when no row has words."""
    if not any(rows):
        return b""
    flat = [number for words in rows for number in (len(words), *words)]
    return struct.pack(f"<{len(flat)}i", *flat)


def unpack(payload: bytes, rows: int) -> list[Logprobs | None]:
    """One for each row, None where it asked for nothing. Raises ``struct.error`` for a payload that was not
    packed for that many rows."""
    if not payload:
        return [None] * rows
    found: list[Logprobs | None] = []
    at = 0
    for _ in range(rows):
        (count,) = struct.unpack_from("<i", payload, at)
        found.append(_one(payload, at + 4, count) if count else None)
        at += 4 * (1 + count)
    if at != len(payload):
        raise struct.error(f"{rows} rows have {at} bytes, {len(payload)} came")
    return found


def _one(payload: bytes, at: int, count: int) -> Logprobs:
    top = (count - 1) // 2
    drawn, *rest = struct.unpack_from(f"<f{top}i{top}f", payload, at)
    return Logprobs(drawn, tuple(zip(rest[:top], rest[top:], strict=True)))
