"""The caches of a whole model, of which a stage has only its own: what the model's code sees in their place.

A model's code asks caches of other layers for the position and for masks. It is shown the stage's own
cache of the same kind, which is at the same position. Knows mlx-lm's cache classes, and no models.
"""

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from ringcore.cache import kinds, sequence
from ringcore.cache.kinds import Holds
from ringcore.spec.errors import RingError
from ringcore.spec.shard import Shard

FIRST = -1  # owner of a cache that belongs to what the model does before its layers


class Caches:
    """``whole``: empty caches of the whole model. ``owners``: the layer of each, or `FIRST`.
    ``needs_position``: layers whose own caches know no position are told it by the model."""

    def __init__(
        self, whole: Sequence[Any], owners: Sequence[int], shard: Shard, *, needs_position: bool = False
    ) -> None:
        assert len(whole) == len(owners)
        self._needs_position = needs_position
        self._whole = list(whole)
        self._owners = tuple(owners)
        self._own = [
            number
            for number, owner in enumerate(owners)
            if owner in shard or (owner == FIRST and shard.is_first)
        ]
        # For each cache of the model the places of the stage's own ones that it is, or that are like it.
        self._places: list[list[int]] = []
        for number, entry in enumerate(whole):
            like = [place for place, own in enumerate(self._own) if _kind(whole[own]) == _kind(entry)]
            self._places.append([self._own.index(number)] if number in self._own else like)

    @property
    def own(self) -> list[Any]:
        """The stage's empty caches."""
        return [self._whole[number] for number in self._own]

    @property
    def layers(self) -> tuple[int, ...]:
        """The layer of each of the stage's own caches; 0 for those of what comes before the layers."""
        return tuple(max(0, self._owners[number]) for number in self._own)

    @property
    def uncut(self) -> tuple[str, ...]:
        """Classes among the whole model's caches, not only the stage's, that cannot be cut into blocks."""
        return tuple(kinds.unknown(self._whole))

    @property
    def holds(self) -> frozenset[Holds | None]:
        """In which ways the whole model's caches hold a sequence."""
        return frozenset(kinds.holds(leaf) for leaf in kinds.leaves(self._whole))

    def seen_by_the_model(self, cache: Sequence[Any]) -> list[Any]:
        """One entry for each cache of the model, from the stage's own ``cache``.

        Raises `RingError` when the model's layers need a position that is lost: caches of states forget
        it when they are merged.
        """
        position = sequence.offset(cache)
        if position is None and self._needs_position:
            raise RingError(
                "caches of states alone, merged, do not know their position",
                "decode the sequences of this model one by one",
            )
        return [
            _filled(cache, places) if places else self._stand_in(number, cache, position)
            for number, places in enumerate(self._places)
        ]

    def _stand_in(self, number: int, cache: Sequence[Any], position: Any) -> Any:
        """For a kind the stage has none of, so that only the position counts."""
        if isinstance(position, mx.array):  # one for each sequence, which a fresh cache cannot have
            return _most_like(self._whole[number], cache)
        made = copy.copy(self._whole[number])
        if hasattr(made, "offset"):
            made.offset = 0 if position is None else position
        return made

    def advance(self, cache: Sequence[Any], before: Any, count: int) -> None:
        """``count`` tokens came after ``before`` (what `sequence.offset` was)."""
        if before is not None:
            sequence.note_offset(cache, before + count)


def _filled(cache: Sequence[Any], places: Sequence[int]) -> Any:
    # A layer may have a cache that it never uses.
    filled = (cache[place] for place in places if not cache[place].empty())
    return next(filled, cache[places[0]])


def _most_like(wanted: Any, cache: Sequence[Any]) -> Any:
    same = [entry for entry in cache if hasattr(entry, "caches") == hasattr(wanted, "caches")]
    return next((entry for entry in same if sequence.knows_offset(entry)), cache[0])


def _kind(entry: Any) -> tuple[Any, ...]:
    inner = tuple(_kind(each) for each in getattr(entry, "caches", ()))
    return (type(entry), getattr(entry, "max_size", None), len(getattr(entry, "cache", ())), *inner)
