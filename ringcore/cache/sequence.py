"""What may be asked of a sequence's cache as a whole: one mlx-lm cache object for each layer of a stage.

Knows the interface of mlx-lm's cache classes, and no layers or models.
"""

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from ringcore.cache import kinds

SequenceCache = list[Any]


def new(prototype: Sequence[Any]) -> SequenceCache:
    """An empty cache with an entry of the same kind for each entry of ``prototype``, itself never used."""
    return copy.deepcopy(list(prototype))


def arrays(cache: Sequence[Any]) -> list[mx.array]:
    """Every array the cache holds now, whole buffers; evaluate these and the cache is up to date."""
    leaves = [leaf for _, leaf in tree_flatten([entry.state for entry in cache])]
    return [leaf for leaf in leaves if isinstance(leaf, mx.array)]


def states(cache: Sequence[Any]) -> list[mx.array]:
    """The arrays of layers that keep a state of fixed size instead of every token."""
    entries = [each for entry in cache for each in getattr(entry, "caches", (entry,))]
    return arrays([each for each in entries if not hasattr(each, "update_and_fetch") and not each.empty()])


def offset(cache: Sequence[Any]) -> Any:
    """Tokens that ``cache`` has taken in: a count, or an array (B,) where sequences are merged; None when
    no entry knows."""
    filled = [leaf for leaf in kinds.leaves(cache) if not leaf.empty()]
    known = (leaf.offset for leaf in filled if hasattr(leaf, "offset"))
    return next(known, None if filled else 0)


def note_offset(cache: Sequence[Any], tokens: int) -> None:
    """Write on caches that know no offset that they have ``tokens``, when no other of ``cache`` knows."""
    if any(knows_offset(entry) for entry in cache):
        return
    for leaf in kinds.leaves(cache):
        leaf.offset = tokens


def knows_offset(entry: Any) -> bool:
    """Whether the class of ``entry`` counts its tokens."""
    return any(hasattr(type(leaf), "update_and_fetch") for leaf in kinds.leaves([entry]))
