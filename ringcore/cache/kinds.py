"""What each of mlx-lm's cache classes can do, known by its class and not found out by trying.

A cache is cut into *leaves*: the caches of a `CacheList` one by one, any other as it is. Knows the insides
of those classes, and no layers or models.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import BatchKVCache, CacheList, ConcatenateKVCache, KVCache, QuantizedKVCache

from ringcore.spec.errors import RingError

Part = tuple[
    mx.array, ...
]  # of one leaf: arrays with tokens along `_TOKENS`; none where a leaf is never used
_TOKENS = 2
# Keys and values of any tokens can be taken out and put together again. Of a rotating cache older tokens are
# gone, an SSM's state is of all tokens at once.
_SLICED = (KVCache, ConcatenateKVCache, QuantizedKVCache, BatchKVCache)
_GROWS_BY_STEPS = (KVCache, QuantizedKVCache)


def leaves(cache: Sequence[Any]) -> Iterator[Any]:
    """The caches that hold arrays, in order."""
    for entry in cache:
        if type(entry) is CacheList:
            yield from leaves(entry.caches)
        else:
            yield entry


def whole_only(cache: Sequence[Any]) -> list[str]:
    """Names of the classes in ``cache`` of which no run of tokens can be taken out; [] when of all it can."""
    return sorted({type(leaf).__name__ for leaf in leaves(cache) if type(leaf) not in _SLICED})


def cut(leaf: Any, start: int, end: int, row: int = 0) -> Part:
    """A copy of tokens ``start`` to ``end`` of the sequence in ``row``, which keeps no larger buffer alive;
    lazy. Raises `RingError` when the leaf does not hold them."""
    if leaf.empty():
        return ()
    _check(leaf)
    left, held = 0, leaf.offset
    if type(leaf) is BatchKVCache:
        padding: list[int] = leaf.left_padding.tolist()  # pyright: ignore[reportAssignmentType]
        left = padding[row]
        held = leaf._idx - left  # pyright: ignore[reportPrivateUsage]
    if end > held:
        raise RingError(
            f"tokens {start}..{end} of a cache of {held} were to be stored", "start the ring again"
        )
    return tuple(_copy(array[row : row + 1], left + start, left + end) for array in _arrays(leaf))


def join(leaf: Any, parts: Sequence[Part]) -> None:
    """Let ``leaf`` go on with ``parts`` behind what it holds, and room for more; lazy."""
    parts = [part for part in parts if part]
    if not parts:
        return
    _check(leaf)
    held = 0 if leaf.empty() else int(leaf.offset)
    if held:
        parts = [tuple(array[:, :, :held] for array in _arrays(leaf)), *parts]
    tokens = sum(part[0].shape[_TOKENS] for part in parts)
    if type(leaf) in _GROWS_BY_STEPS:
        room = leaf.step - tokens % leaf.step
        parts = [*parts, tuple(_room(array, room) for array in parts[0])]
    joined = [mx.concatenate(list(arrays), axis=_TOKENS) for arrays in zip(*parts, strict=True)]
    if type(leaf) is QuantizedKVCache:
        half = len(joined) // 2
        leaf.keys, leaf.values = tuple(joined[:half]), tuple(joined[half:])
    else:
        leaf.keys, leaf.values = joined
    leaf.offset = tokens


def _arrays(leaf: Any) -> Part:
    keys, values = leaf.keys, leaf.values
    return (*keys, *values) if type(leaf) is QuantizedKVCache else (keys, values)


def _copy(array: mx.array, start: int, end: int) -> mx.array:
    # Of two pieces: a single slice may be a view, and keep the whole buffer from being changed in place.
    middle = (start + end) // 2
    return mx.concatenate([array[:, :, start:middle], array[:, :, middle:end]], axis=_TOKENS)


def _room(like: mx.array, tokens: int) -> mx.array:
    shape = list(like.shape)
    shape[_TOKENS] = tokens
    return mx.zeros(shape, like.dtype)


def _check(leaf: Any) -> None:
    if type(leaf) not in _SLICED:
        raise RingError(
            f"no tokens can be taken out of a {type(leaf).__name__}",
            'write memory = "0 MiB" under [cache] in the profile and deploy again',
        )
