"""What leaves keep, as tensors of a file: each array under the number of its layer, of the leaf and its own.

So whoever holds other layers later finds what is its own. Knows no files.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import mlx.core as mx
from numpy.typing import NDArray

from ringcore.cache import kinds
from ringcore.cache.parts import Part

Tensors = Mapping[str, NDArray[Any]]  # names begin with the number of a layer and a point
_BRAIN = "bfloat16"  # NumPy has no such numbers: their bits are stored


def keys(prototype: Sequence[Any], layers: Sequence[int]) -> list[str]:
    """``layer.leaf`` for each leaf of a stage's cache; leaves of a layer are counted from 0. ``layers``: of
    each entry."""
    found: list[str] = []
    counts: dict[int, int] = {}
    for entry, layer in zip(prototype, layers, strict=True):
        for _ in kinds.leaves([entry]):
            found.append(f"{layer}.{counts.get(layer, 0)}")
            counts[layer] = counts.get(layer, 0) + 1
    return found


def named(keys: Sequence[str], parts: Sequence[Part]) -> list[tuple[str, mx.array]]:
    """Each array of ``parts``, one for each of ``keys``, in numbers that NumPy has; lazy."""
    found = [
        (f"{key}.{number}", array)
        for key, part in zip(keys, parts, strict=True)
        for number, array in enumerate(part)
    ]
    return [
        (f"{key}.{_BRAIN}", array.view(mx.uint16)) if array.dtype == mx.bfloat16 else (key, array)
        for key, array in found
    ]


def parts(keys: Sequence[str], tensors: Tensors) -> tuple[Part, ...]:
    """The other way: a part for each of ``keys``; empty where there is no tensor of it."""
    return tuple(_part(key, tensors) for key in keys)


def _part(key: str, tensors: Tensors) -> Part:
    found: list[mx.array] = []
    while True:
        name = f"{key}.{len(found)}"
        if name in tensors:
            found.append(_array(tensors[name]))
        elif f"{name}.{_BRAIN}" in tensors:
            found.append(_array(tensors[f"{name}.{_BRAIN}"]).view(mx.bfloat16))
        else:
            return tuple(found)


def _array(tensor: NDArray[Any]) -> mx.array:
    return mx.array(tensor)
