"""What may be asked of a sequence's cache as a whole: one mlx-lm cache object for each layer of a stage.

Knows the interface of mlx-lm's cache classes, and no layers or models.
"""

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten

from ringcore.spec.errors import RingError

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


def nbytes(cache: Sequence[Any]) -> int:
    """Bytes of the buffers, which grow in steps of many tokens."""
    return sum(entry.nbytes for entry in cache)


def length(cache: Sequence[Any]) -> int:
    """Tokens the cache has taken in (0 for layers without a position, which every other layer outvotes)."""
    return max((int(getattr(entry, "offset", 0)) for entry in cache), default=0)


def trim(cache: Sequence[Any], n: int) -> None:
    """Forget the last ``n`` tokens in every layer.

    Raises `RingError`, with nothing changed, when ``n`` is more than the cache holds, or some layer's
    kind of cache cannot go back (a rotating cache that has wrapped round, a state-space layer).
    """
    held = length(cache)
    if not 0 <= n <= held:
        raise RingError(f"cannot trim {n} tokens from a cache of {held}", "trim at most what it holds")
    fixed = sorted({type(entry).__name__ for entry in cache if not entry.is_trimmable()})
    if fixed:
        raise RingError(
            f"a cache of {', '.join(fixed)} cannot be trimmed", "drop the sequence and run its tokens again"
        )
    for entry in cache:
        entry.trim(n)
