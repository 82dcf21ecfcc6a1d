"""What tells the weights of one part of a model from all others, from the arrays as they are in memory.

The same on every host and device: integers are added, which no order of adding changes. Of each array go in
its name, dtype and shape, the sums of its words over `PARTS` runs, and words from all over it. No copy of an
array is made, and of what is computed only the sums come to the host.
"""

import hashlib
import math
from collections.abc import Iterable
from typing import Any

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten

PARTS = 256
_SAMPLES = 64
_WORDS = ((4, mx.uint32), (2, mx.uint16), (1, mx.uint8))


def fingerprint(parts: Iterable[Any]) -> str:
    """Of modules, lists of modules or arrays, as `structure.module_at` gives them; 32 hex digits."""
    named = [
        (f"{number}.{name}", array)
        for number, part in enumerate(parts)
        for name, array in sorted(_named(part))
    ]
    figures = [_figures(array) for _, array in named]
    mx.eval(figures)
    found = hashlib.blake2b(digest_size=16)
    for (name, array), (sums, samples) in zip(named, figures, strict=True):
        found.update(f"{name} {array.dtype} {list(array.shape)}\n".encode())
        found.update(np.array(sums).tobytes())
        found.update(np.array(samples).tobytes())
    return found.hexdigest()


def _named(part: Any) -> list[tuple[str, mx.array]]:
    if isinstance(part, mx.array):
        return [("", part)]
    if isinstance(part, nn.Module):
        return tree_flatten(part.parameters())  # type: ignore[return-value]
    return [(f"{number}.{name}", array) for number, each in enumerate(part) for name, array in _named(each)]


def _figures(array: mx.array) -> tuple[mx.array, mx.array]:
    """Sums over runs of words, which wrap around, and some words themselves; lazy."""
    if not array.size:
        return mx.zeros((0,)), mx.zeros((0,))
    flat = array.reshape(-1)
    dtype = next(dtype for width, dtype in _WORDS if flat.nbytes % width == 0)
    words = flat.view(dtype)
    runs = words.reshape(math.gcd(PARTS, words.size), -1)
    return runs.sum(axis=1), words[:: max(1, words.size // _SAMPLES)]
