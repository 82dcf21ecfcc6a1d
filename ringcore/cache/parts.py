"""What one leaf keeps of a block of tokens, cut out of a cache and put into another.

Of a leaf that holds every token these are the block's keys and values; of a window, those that a sequence
needs to go on from the block's end; of a state, the state there. So windows and states can be cut only
while the cache is near the block's end, or right at it. Knows no layers or models.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx

from ringcore.cache import kinds
from ringcore.cache.kinds import TOKENS, Arrays, Holds, NotPossible
from ringcore.spec.errors import RingError

Part = tuple[mx.array, ...]  # none where a leaf is never used
_ABSENT = (0,)  # shape that stands for an array that a state lacks


def cut(leaf: Any, start: int, end: int, row: int = 0) -> Part:
    """A copy of what the sequence in ``row`` needs of tokens ``start`` to ``end``, which keeps no larger
    buffer alive; lazy. A state is that of now: the caller knows that it is at ``end``. Raises `RingError`
    when the leaf does not hold the tokens, or cannot be cut."""
    if leaf.empty():
        return ()
    held = kinds.holds(leaf)
    if held is None:
        raise NotPossible(leaf, "be cut into blocks")
    if held is Holds.STATE:
        return tuple(mx.zeros(_ABSENT) if each is None else _copy(each[row : row + 1]) for each in leaf.cache)
    if held is Holds.WINDOW:
        start = max(start, end - kinds.window(leaf))
    arrays, offset = kinds.in_order(leaf, row), kinds.offset(leaf, row) or 0
    first = offset - arrays[0].shape[TOKENS]
    if start < first or end > offset:
        raise RingError(
            f"tokens {start}..{end} were to be stored of a cache that holds {first}..{offset}",
            "start the ring again",
        )
    return tuple(_copy(array[:, :, start - first : end - first]) for array in arrays)


def join(leaf: Any, parts: Sequence[Part], tokens: int) -> None:
    """Let ``leaf`` go on with ``parts``, of ``tokens`` tokens together, behind what it holds; lazy."""
    parts = [part for part in parts if part]
    if not parts:
        return
    held = kinds.holds(leaf)
    if held is None:
        raise NotPossible(leaf, "go on from blocks")
    if held is Holds.STATE:
        leaf.cache = [None if each.shape == _ABSENT else mx.array(each) for each in parts[-1]]
        return
    offset = tokens
    if not leaf.empty():
        parts = [kinds.in_order(leaf), *parts]
        offset += leaf.offset
    if held is Holds.WINDOW:
        parts = _last(parts, kinds.window(leaf))
    if step := kinds.grows_by(leaf):
        parts = [*parts, tuple(_room(array, step - offset % step) for array in parts[0])]
    joined = tuple(mx.concatenate(list(arrays), axis=TOKENS) for arrays in zip(*parts, strict=True))
    kinds.put(leaf, joined, offset)


def _last(parts: Sequence[Arrays], tokens: int) -> list[Arrays]:
    found: list[Arrays] = []
    for part in reversed(parts):
        more = min(tokens, part[0].shape[TOKENS])
        found.insert(0, tuple(array[:, :, array.shape[TOKENS] - more :] for array in part))
        tokens -= more
        if not tokens:
            break
    return found


def _copy(array: mx.array) -> mx.array:
    # Of two pieces: a single slice may be a view, and keep the whole buffer from being changed in place.
    axis = max(range(array.ndim), key=lambda number: array.shape[number])
    middle = array.shape[axis] // 2
    pieces: Any = mx.split(array, [middle], axis=axis)
    return mx.concatenate(pieces, axis=axis)


def _room(like: mx.array, tokens: int) -> mx.array:
    shape = list(like.shape)
    shape[TOKENS] = tokens
    return mx.zeros(shape, like.dtype)
