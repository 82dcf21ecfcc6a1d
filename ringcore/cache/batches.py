"""The KV caches of a stage by slot: alone, or merged with those of others that decode together.

Knows mlx-lm's cache classes by what they can do (``merge``, ``extract``), and no layers or models.
Merging and taking apart copy; both happen only when the members of a step change, which every stage
sees in the same steps.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from ringcore.cache import kinds, sequence
from ringcore.cache.sequence import SequenceCache

Slots = tuple[int, ...]


class Batches:
    """Each open slot's cache is in exactly one place: alone, or in one batch."""

    def __init__(self) -> None:
        self._alone: dict[int, SequenceCache] = {}
        self._batches: dict[Slots, SequenceCache] = {}

    @property
    def nbytes(self) -> int:
        """Bytes of all caches."""
        return sum(map(sequence.nbytes, (*self._alone.values(), *self._batches.values())))

    def open(self, slot: int, cache: SequenceCache) -> None:
        self._alone[slot] = cache

    def drop(self, slot: int) -> None:
        """The slot's cache goes; the others of its batch stay together."""
        if slot in self._alone:
            del self._alone[slot]
            return
        members = self._batch_of(slot)
        cache = self._batches.pop(members)
        left = tuple(member for member in members if member != slot)
        if len(left) == 1:
            self._alone[left[0]] = [entry.extract(members.index(left[0])) for entry in cache]
        elif left:
            sequence.keep_rows(cache, [members.index(member) for member in left])
            self._batches[left] = cache

    def one(self, slot: int) -> SequenceCache:
        """The cache of one sequence, taken out of its batch where it is in one."""
        if slot not in self._alone:
            self._take_apart(self._batch_of(slot))
        return self._alone[slot]

    def find(self, slot: int) -> tuple[SequenceCache, int]:
        """The cache that the sequence is in, as it is, and its row there."""
        if slot in self._alone:
            return self._alone[slot], 0
        members = self._batch_of(slot)
        return self._batches[members], members.index(slot)

    def several(self, slots: Slots) -> SequenceCache:
        """One cache of all ``slots``, rows in that order."""
        if slots not in self._batches:
            stays = next((members for members in self._batches if slots[: len(members)] == members), ())
            cache = self._batches.pop(stays, None)
            for slot in slots[len(stays) :]:
                self.one(slot)
            joining = _merge([self._alone.pop(slot) for slot in slots[len(stays) :]])
            if cache is not None:
                sequence.extend(cache, joining)
            self._batches[slots] = cache if cache is not None else joining
        return self._batches[slots]

    def _batch_of(self, slot: int) -> Slots:
        return next(members for members in self._batches if slot in members)

    def _take_apart(self, members: Slots) -> None:
        cache = self._batches.pop(members)
        parts: list[SequenceCache] = [[] for _ in members]
        for index in range(len(cache)):
            for row, part in enumerate(parts):
                part.append(cache[index].extract(row))
            mx.eval(sequence.arrays([part[-1] for part in parts]))
            cache[index] = None  # layer by layer, so that both copies are never there as a whole
        self._alone |= dict(zip(members, parts, strict=True))


def can_merge(prototype: Sequence[Any]) -> bool:
    """Every layer's kind of cache can hold several sequences and give one back."""
    return all(hasattr(leaf, "merge") for leaf in kinds.leaves(prototype)) and all(
        hasattr(entry, "merge") and hasattr(type(entry).merge([entry]), "extract") for entry in prototype
    )


def _merge(parts: list[SequenceCache]) -> SequenceCache:
    merged: SequenceCache = []
    for entries in zip(*parts, strict=True):
        entry = type(entries[0]).merge(list(entries))
        mx.eval(sequence.arrays([entry]))
        merged.append(entry)
        for part in parts:  # layer by layer, so that both copies are never there as a whole
            part[len(merged) - 1] = None
    return merged
