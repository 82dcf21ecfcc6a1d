"""The caches of a whole model, of which a stage has only its own: what the model's code sees in their place.

A model's code asks caches of other layers for the position and for masks. It is shown the stage's own
cache of the same kind, which is at the same position. Knows mlx-lm's cache classes, and no models.
"""

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from ringcore.spec.shard import Shard

FIRST = -1  # owner of a cache that belongs to what the model does before its layers


class Caches:
    """``whole``: empty caches of the whole model. ``owners``: the layer of each, or `FIRST`."""

    def __init__(self, whole: Sequence[Any], owners: Sequence[int], shard: Shard) -> None:
        assert len(whole) == len(owners)
        self._whole = list(whole)
        self._own = [
            number
            for number, owner in enumerate(owners)
            if owner in shard or (owner == FIRST and shard.is_first)
        ]
        own_kinds = [_kind(whole[number]) for number in self._own]
        # For each cache of the model the place of the stage's own one that it is, or that is like it.
        self._places: list[int | None] = []
        for number, entry in enumerate(whole):
            if number in self._own:
                self._places.append(self._own.index(number))
            else:
                kind = _kind(entry)
                self._places.append(own_kinds.index(kind) if kind in own_kinds else None)

    @property
    def own(self) -> list[Any]:
        """The stage's empty caches."""
        return [self._whole[number] for number in self._own]

    def seen_by_the_model(self, cache: Sequence[Any]) -> list[Any]:
        """One entry for each cache of the model, from the stage's own ``cache``."""
        position = offset(cache)
        return [
            cache[place] if place is not None else self._stand_in(number, cache, position)
            for number, place in enumerate(self._places)
        ]

    def _stand_in(self, number: int, cache: Sequence[Any], position: Any) -> Any:
        """For a kind the stage has none of, so that only the position counts."""
        if isinstance(position, mx.array):  # one for each sequence, which a fresh cache cannot have
            return next(entry for entry in cache if isinstance(getattr(entry, "offset", None), mx.array))
        made = copy.copy(self._whole[number])
        if hasattr(made, "offset"):
            made.offset = position
        return made

    def advance(self, cache: Sequence[Any], count: int) -> None:
        """Note on caches that know no position that ``count`` tokens came, when no other knows it."""
        if any(_knows_position(entry) for entry in cache):
            return
        for entry in cache:
            entry.offset = getattr(entry, "offset", 0) + count


def offset(cache: Sequence[Any]) -> Any:
    """Tokens that ``cache`` has taken in: a count, or an array (B,) where sequences are merged."""
    for entry in cache:
        for each in getattr(entry, "caches", (entry,)):
            if hasattr(each, "offset"):
                return each.offset
    return 0


def _knows_position(entry: Any) -> bool:
    return any(hasattr(type(each), "update_and_fetch") for each in getattr(entry, "caches", (entry,)))


def _kind(entry: Any) -> tuple[Any, ...]:
    inner = tuple(_kind(each) for each in getattr(entry, "caches", ()))
    return (type(entry), getattr(entry, "max_size", None), len(getattr(entry, "cache", ())), *inner)
