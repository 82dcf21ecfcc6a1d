"""What each of mlx-lm's cache classes can do, known by its class and not found out by trying.

A cache is cut into *leaves*: the caches of a `CacheList` one by one, any other as it is. A leaf holds its
sequence in one of three ways: every token, the tokens of a window, or a state of all tokens at once. Knows
the insides of those classes, and no layers or models.
"""

from collections.abc import Iterator, Sequence
from enum import Enum
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import (
    ArraysCache,
    BatchKVCache,
    BatchRotatingKVCache,
    CacheList,
    ChunkedKVCache,
    ConcatenateKVCache,
    KVCache,
    QuantizedKVCache,
    RotatingKVCache,
)

from ringcore.spec.errors import RingError

Arrays = tuple[mx.array, ...]  # of keys and values, tokens along `TOKENS`
TOKENS = 2


class Holds(Enum):
    """What a leaf holds of a sequence."""

    TOKENS = "every token"
    WINDOW = "the last tokens"
    STATE = "a state"


class NotPossible(RingError):
    """What was asked of a cache is nothing that its class can do, or not with the tokens that it holds."""

    def __init__(self, leaf: Any, what: str) -> None:
        remedy = 'write memory = "0 MiB" under [cache] in the profile and deploy again'
        super().__init__(f"{name_of(leaf)} cannot {what}", remedy)


_HOLDS = {
    KVCache: Holds.TOKENS,
    ConcatenateKVCache: Holds.TOKENS,
    QuantizedKVCache: Holds.TOKENS,
    BatchKVCache: Holds.TOKENS,
    RotatingKVCache: Holds.WINDOW,
    BatchRotatingKVCache: Holds.WINDOW,
    ChunkedKVCache: Holds.WINDOW,
    ArraysCache: Holds.STATE,
}


def leaves(cache: Sequence[Any]) -> Iterator[Any]:
    """The caches that hold arrays, in order."""
    for entry in cache:
        if type(entry) is CacheList:
            yield from leaves(entry.caches)
        else:
            yield entry


def name_of(leaf: Any) -> str:
    """Its class, as an operator may read it."""
    return type(leaf).__name__ + (" that keeps its first tokens" if getattr(leaf, "keep", 0) else "")


def holds(leaf: Any) -> Holds | None:
    """None for a class that is not known, and for windows that keep the first tokens too."""
    return None if getattr(leaf, "keep", 0) else _HOLDS.get(type(leaf))


def unknown(cache: Sequence[Any]) -> list[str]:
    """Names of the leaves' classes of which nothing is known, so that nothing can be kept; [] when of all."""
    return sorted({name_of(leaf) for leaf in leaves(cache) if holds(leaf) is None})


def window(leaf: Any) -> int:
    """Tokens that a leaf of a window needs to go on."""
    return leaf.chunk_size if type(leaf) is ChunkedKVCache else leaf.max_size


def offset(leaf: Any, row: int = 0) -> int | None:
    """Tokens that the sequence in ``row`` has; None where the leaf does not know."""
    known: Any = getattr(leaf, "offset", None)
    return known[row].item() if isinstance(known, mx.array) else known  # pyright: ignore[reportReturnType]


def in_order(leaf: Any, row: int = 0) -> Arrays:
    """Views of the keys and values of the sequence in ``row`` of a leaf that is not empty, oldest token
    first: the last ones of its tokens, nothing behind the newest. Raises `NotPossible` for states."""
    kind: type[Any] = type(leaf)
    if kind is QuantizedKVCache:
        return tuple(array[:, :, : leaf.offset] for array in (*leaf.keys, *leaf.values))
    if kind in (KVCache, ConcatenateKVCache):
        return leaf.keys[:, :, : leaf.offset], leaf.values[:, :, : leaf.offset]
    if kind is ChunkedKVCache:
        return leaf.keys_and_values()
    if kind is RotatingKVCache:
        return leaf._temporal_order(leaf.keys), leaf._temporal_order(leaf.values)
    if kind in (BatchKVCache, BatchRotatingKVCache):
        return _row_in_order(leaf, row)
    raise NotPossible(leaf, "give keys and values of its tokens")


def _row_in_order(leaf: Any, row: int) -> Arrays:
    padding: list[int] = leaf.left_padding.tolist()
    arrays, end = [leaf.keys[row : row + 1], leaf.values[row : row + 1]], leaf._idx
    if getattr(leaf, "rotated", False):
        arrays, end = [mx.roll(array, -end, TOKENS) for array in arrays], arrays[0].shape[TOKENS]
    return tuple(array[:, :, max(0, padding[row]) : end] for array in arrays)


def put(leaf: Any, arrays: Arrays, offset: int) -> None:
    """Let ``leaf`` go on at ``offset`` with ``arrays`` (as `in_order` gives them) and room behind them."""
    kind: type[Any] = type(leaf)
    if kind is QuantizedKVCache:
        half = len(arrays) // 2
        leaf.keys, leaf.values = tuple(arrays[:half]), tuple(arrays[half:])
    else:
        leaf.keys, leaf.values = arrays
    leaf.offset = offset
    if kind is RotatingKVCache:
        leaf._idx = arrays[0].shape[TOKENS]
    if kind is ChunkedKVCache:
        leaf.start_position = offset - arrays[0].shape[TOKENS]


def grows_by(leaf: Any) -> int:
    """Tokens by which a leaf of every token grows; 0: by each."""
    return leaf.step if type(leaf) in (KVCache, QuantizedKVCache) else 0


def reset(leaf: Any) -> None:
    """Forget everything. Raises `NotPossible` for a class that is not known."""
    if leaf.empty():
        return
    kind: type[Any] = type(leaf)
    if kind not in _HOLDS or kind in (BatchKVCache, BatchRotatingKVCache):
        raise NotPossible(leaf, "be emptied")
    if kind is ArraysCache:
        leaf.cache = [None] * len(leaf.cache)
        vars(leaf).pop("offset", None)
        return
    leaf.keys = leaf.values = None
    leaf.offset = 0
    if kind is RotatingKVCache:
        leaf._idx = 0
    if kind is ChunkedKVCache:
        leaf.start_position = 0


def check_truncate(leaf: Any, tokens: int) -> None:
    """Raises `NotPossible` when the leaf of one sequence cannot go back to its first ``tokens`` tokens."""
    if leaf.empty() or not tokens:
        return
    held = holds(leaf)
    if held is None or held is Holds.STATE or type(leaf) in (BatchKVCache, BatchRotatingKVCache):
        raise NotPossible(leaf, "go back to fewer tokens")
    needed = min(tokens, window(leaf)) if held is Holds.WINDOW else tokens
    if (known := leaf.offset - in_order(leaf)[0].shape[TOKENS]) > tokens - needed:
        raise NotPossible(leaf, f"go back to {tokens} tokens: those before {known} are gone")


def truncate(leaf: Any, tokens: int) -> None:
    """Forget all but the first ``tokens`` tokens of one sequence; lazy. As `check_truncate`."""
    check_truncate(leaf, tokens)
    if not tokens:
        reset(leaf)
    elif not leaf.empty():
        arrays = in_order(leaf)
        kept = arrays[0].shape[TOKENS] - (leaf.offset - tokens)
        put(leaf, tuple(array[:, :, :kept] for array in arrays), tokens)


def keep_rows(leaf: Any, rows: mx.array) -> None:
    """Forget all sequences of a batch but those in ``rows``, which get that order."""
    if not hasattr(type(leaf), "filter"):
        raise NotPossible(leaf, "hold several sequences")
    leaf.filter(rows)


def extend(leaf: Any, other: Any) -> None:
    """Take the sequences of ``other``, a batch of the same kind, behind the own ones."""
    if type(leaf) is not type(other) or not hasattr(type(leaf), "extend"):
        raise NotPossible(leaf, f"take in a {name_of(other)}")
    if getattr(leaf, "max_size", None) != getattr(other, "max_size", None):
        raise NotPossible(leaf, f"take in one of {other.max_size} tokens beside its own {leaf.max_size}")
    leaf.extend(other)
