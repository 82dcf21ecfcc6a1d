"""What may be asked of a sequence's cache as a whole: one mlx-lm cache object for each layer of a stage, or
of a whole model.

What a class cannot do is raised as `ringcore.cache.kinds.NotPossible`, before anything was changed. Knows no
layers or models.
"""

import copy
from collections.abc import Sequence
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.cache import CacheList

from ringcore.cache import kinds
from ringcore.cache.kinds import NotPossible
from ringcore.spec.errors import RingError

SequenceCache = list[Any]


def new(like: Sequence[Any]) -> SequenceCache:
    """An empty cache with an entry of the same kind for each entry of ``like``, used or not."""
    return [_empty(entry) for entry in like]


def clone(cache: Sequence[Any]) -> SequenceCache:
    """The same sequence once more: what either goes on with, the other does not see."""
    return copy.deepcopy(list(cache))


def truncate(cache: Sequence[Any], tokens: int) -> None:
    """Have the sequence end after its first ``tokens`` tokens. Raises `NotPossible`, or `RingError` when it
    has fewer."""
    held = offset(cache)
    if not isinstance(held, int):
        raise NotPossible(cache[0], "go back: it does not know where it is")
    if tokens > held:
        raise RingError(f"a cache of {held} tokens cannot be cut to {tokens}", "start the ring again")
    if tokens == held:
        return
    for leaf in kinds.leaves(cache):
        kinds.check_truncate(leaf, tokens)
    for leaf in kinds.leaves(cache):
        kinds.truncate(leaf, tokens)
    note_offset(cache, tokens)


def keep_rows(cache: Sequence[Any], rows: Sequence[int]) -> None:
    """Of a batch, keep the sequences in ``rows``, in that order."""
    chosen = mx.array(list(rows))
    for leaf in kinds.leaves(cache):
        kinds.keep_rows(leaf, chosen)


def extend(cache: Sequence[Any], other: SequenceCache) -> None:
    """Have a batch take the sequences of ``other`` behind its own; ``other`` is used up."""
    for number, (entry, its) in enumerate(zip(cache, other, strict=True)):
        for leaf, more in zip(kinds.leaves([entry]), kinds.leaves([its]), strict=True):
            kinds.extend(leaf, more)
        mx.eval(arrays([entry]))
        other[number] = None  # layer by layer, so that both copies are never there as a whole


def nbytes(cache: Sequence[Any]) -> int:
    """Bytes of all its arrays, rooms that are still empty too."""
    return sum(int(leaf.nbytes) for leaf in kinds.leaves(cache) if not leaf.empty())


def arrays(cache: Sequence[Any]) -> list[mx.array]:
    """Every array the cache holds now, whole buffers; evaluate these and the cache is up to date."""
    leaves = [leaf for _, leaf in tree_flatten([entry.state for entry in cache])]
    return [leaf for leaf in leaves if isinstance(leaf, mx.array)]


def states(cache: Sequence[Any]) -> list[mx.array]:
    """The arrays of layers that keep a state of fixed size instead of every token."""
    return arrays([leaf for leaf in kinds.leaves(cache) if not knows_offset(leaf) and not leaf.empty()])


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


def _empty(entry: Any) -> Any:
    if type(entry) is CacheList:
        return CacheList(*new(entry.caches))
    if entry.empty():
        return copy.deepcopy(entry)
    made = copy.copy(entry)
    kinds.reset(made)
    return made
