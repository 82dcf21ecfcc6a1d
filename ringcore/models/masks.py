"""Attention masks of a run of layers: the rule by which mlx-lm's model code makes them, one rule a function.

A rule gets the hidden states, the stage's layers and their caches, and returns one mask a layer. It knows
nothing of weights or of the layers of other stages.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.models.base import create_attention_mask

Mask = mx.array | str | None
MaskRule = Callable[[mx.array, Sequence[nn.Module], Sequence[Any]], list[Mask]]


def causal(h: mx.array, layers: Sequence[nn.Module], cache: Sequence[Any]) -> list[Mask]:
    """One causal mask for every layer, symbolic where the kernel knows it."""
    return [create_attention_mask(h, cache[0])] * len(layers)


def causal_array(h: mx.array, layers: Sequence[nn.Module], cache: Sequence[Any]) -> list[Mask]:
    """One causal mask for every layer, always as an array (MLA adds its own scores to it)."""
    return [create_attention_mask(h, cache[0], return_array=True)] * len(layers)


def full_and_sliding(h: mx.array, layers: Sequence[nn.Module], cache: Sequence[Any]) -> list[Mask]:
    """Full or sliding-window by each layer's ``use_sliding``; the window is the rotating cache's size."""
    masks: dict[bool, Mask] = {}
    for layer, entry in zip(layers, cache, strict=True):
        sliding = bool(layer.use_sliding)
        if sliding not in masks:
            window = int(entry.max_size) if sliding else None
            masks[sliding] = create_attention_mask(h, entry, window_size=window)
    return [masks[bool(layer.use_sliding)] for layer in layers]
