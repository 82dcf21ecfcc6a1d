"""What one layer's cache keeps of a sequence, in numbers, and the bytes of numbers in few bits. Pure.

Knows no architectures: `kv` says what the layers of each keep.
"""

from math import gcd
from typing import NamedTuple

ITEM_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}
CACHE_STEP = 256  # tokens by which mlx-lm's caches grow
# Numbers that share a scale and a bias when they are kept in few bits, best first.
GROUPS = (64, 32)


class Heads(NamedTuple):
    """``kv_heads`` heads, of ``keys`` and of ``values`` numbers each for every token."""

    kv_heads: int
    keys: int
    values: int

    @property
    def numbers(self) -> int:
        return self.kv_heads * (self.keys + self.values)


class Kept(NamedTuple):
    """Numbers a layer keeps: for each token, of at most the last ``window`` tokens (0: of all), and for
    the sequence as a whole. ``head``: sizes of the heads of keys and of values are multiples of it; 0 where
    they cannot be of few bits."""

    per_token: int = 0
    window: int = 0
    fixed: int = 0
    head: int = 0


def kept(heads: Heads, window: int = 0, fixed: int = 0) -> Kept:
    """Of a layer with ``heads`` in one cache."""
    return Kept(heads.numbers, window, fixed, gcd(heads.keys, heads.values))


def group_of(head: int) -> int:
    """How many numbers of such heads share a scale; 0 when they cannot be grouped."""
    return next((group for group in GROUPS if head and head % group == 0), 0)


def bytes_in_bits(numbers: int, bits: int, group: int, item_bytes: int) -> int:
    """Of ``numbers`` in ``bits`` each, with a scale and a bias of ``item_bytes`` for each group."""
    return numbers * bits // 8 + 2 * item_bytes * (numbers // group)
