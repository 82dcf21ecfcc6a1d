"""What steps of the prefix cache carry: places of blocks, with their names where they are stored.

One step carries `MAX_BLOCKS` at most, so that its payload fits on the wrap link beside what else is there.
Knows nothing of arrays or links.
"""

import struct
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ringcore.engine.prefix import NAME_BYTES, Claim
from ringcore.engine.step import Operation, Row

MAX_BLOCKS = 256
FETCH_BLOCKS = 16  # no other step passes a rank while it reads them
_STORED = struct.Struct(f"<i{NAME_BYTES}s")


class Aside(Struct, frozen=True):
    """A step of the prefix cache that is due."""

    operation: Operation
    rows: tuple[Row, ...]
    payload: bytes


CLEARING = Aside(Operation.FORGET, (), b"")  # of no place: files go


def storing(slot: int, claim: Claim, block_tokens: int) -> Iterator[Aside]:
    """Steps that store blocks of the sequence in ``slot``."""
    for at in range(0, len(claim.places), MAX_BLOCKS):
        places, names = claim.places[at : at + MAX_BLOCKS], claim.names[at : at + MAX_BLOCKS]
        payload = b"".join(_STORED.pack(*entry) for entry in zip(places, names, strict=True))
        yield Aside(Operation.STORE, (_row(slot, claim.first + at, len(places), block_tokens),), payload)


def fetching(slot: int, claim: Claim) -> Aside:
    """The step that brings blocks from disk, `FETCH_BLOCKS` at most; how many came is in its row's token."""
    payload = b"".join(_STORED.pack(*entry) for entry in zip(claim.places, claim.names, strict=True))
    return Aside(Operation.FETCH, (Row(slot, token=len(claim.places)),), payload)


def loading(slot: int, places: Sequence[int], block_tokens: int) -> Iterator[Aside]:
    """Steps that begin the sequence in ``slot`` with the blocks in ``places``."""
    for at in range(0, len(places), MAX_BLOCKS):
        some = places[at : at + MAX_BLOCKS]
        yield Aside(Operation.LOAD, (_row(slot, at, len(some), block_tokens),), _places(some))


def forgetting(places: Sequence[int]) -> Iterator[Aside]:
    """Steps that free ``places`` on every rank."""
    for at in range(0, len(places), MAX_BLOCKS):
        yield Aside(Operation.FORGET, (), _places(places[at : at + MAX_BLOCKS]))


def stored(payload: bytes) -> list[tuple[int, bytes]]:
    """Place and name of each block of a STORE or FETCH. Raises ``struct.error``."""
    return [(place, name) for place, name in _STORED.iter_unpack(payload)]


def places(payload: bytes) -> tuple[int, ...]:
    """Of a LOAD or FORGET. Raises ``struct.error``."""
    return tuple(place for (place,) in struct.iter_unpack("<i", payload))


def _places(some: Sequence[int]) -> bytes:
    return struct.pack(f"<{len(some)}i", *some)


def _row(slot: int, first: int, count: int, block_tokens: int) -> Row:
    return Row(slot, block_tokens * count, block_tokens * first)
