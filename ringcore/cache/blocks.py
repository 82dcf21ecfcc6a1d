"""Blocks of earlier sequences: what one stage's layers keep of a few tokens each, by place.

What goes into which place and comes out again is said by steps. Knows no hashes, links or models.
"""

from collections.abc import Sequence

import mlx.core as mx

from ringcore.cache import kinds, parts, sequence
from ringcore.cache.parts import Part
from ringcore.cache.sequence import SequenceCache
from ringcore.spec.errors import RingError
from ringcore.spec.events import PrefixUsed

Block = tuple[Part, ...]  # a part for each leaf of the stage's cache


class Blocks:
    """Counts since it was made: ``loads`` of sequences that began with blocks, ``reused_tokens`` of them,
    ``evicted`` blocks that went or made room for others."""

    def __init__(self) -> None:
        self._held: dict[int, Block] = {}
        self._bytes = 0
        self.loads = 0
        self.reused_tokens = 0
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._held)

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return self._bytes

    @property
    def used(self) -> PrefixUsed:
        """What is held, and the counts."""
        return PrefixUsed(
            blocks=len(self),
            bytes=self._bytes,
            hits=self.loads,
            reused_tokens=self.reused_tokens,
            evicted=self.evicted,
        )

    def store(self, cache: SequenceCache, row: int, start: int, tokens: int, places: Sequence[int]) -> None:
        """Copy tokens from ``start`` on, ``tokens`` for each place; the work is begun, not waited for.

        Raises `RingError` when the cache does not hold them.
        """
        leaves = list(kinds.leaves(cache))
        made: list[mx.array] = []
        for number, place in enumerate(places):
            at = start + number * tokens
            block = tuple(parts.cut(leaf, at, at + tokens, row) for leaf in leaves)
            self.put(place, block)
            made += [array for part in block for array in part]
        mx.async_eval(made)

    def block(self, place: int) -> Block:
        """What is there; something must be."""
        return self._held[place]

    def put(self, place: int, block: Block) -> None:
        """In place of what is there."""
        self.forget([place])
        self._held[place] = block
        self._bytes += _nbytes(block)

    def load(self, cache: SequenceCache, places: Sequence[int], start: int, tokens: int) -> None:
        """Let ``cache``, which has ``start`` tokens, go on with the blocks in ``places``, of ``tokens``
        together; lazy. Raises `RingError` for an empty place."""
        missing = [place for place in places if place not in self._held]
        if missing:
            raise RingError(f"no block is held in place {missing[0]}", "start the ring again")
        blocks = [self._held[place] for place in places]
        for leaf, *own in zip(kinds.leaves(cache), *blocks, strict=True):
            parts.join(leaf, own, tokens)
        sequence.note_offset(cache, start + tokens)

    def reused(self, tokens: int, *, begins: bool) -> None:
        """A sequence has so many tokens of blocks, and ``begins`` with them."""
        self.loads += begins
        self.reused_tokens += tokens

    def forget(self, places: Sequence[int]) -> None:
        """Free ``places``; those that are free already stay so."""
        for place in places:
            block = self._held.pop(place, None)
            if block is not None:
                self._bytes -= _nbytes(block)
                self.evicted += 1


def _nbytes(block: Block) -> int:
    return sum(array.nbytes for part in block for array in part)
