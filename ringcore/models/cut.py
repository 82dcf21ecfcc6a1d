"""The generic stage: a run of an mlx-lm model's own layer modules, called as the whole model calls them.

Holds modules whose weights are in memory. Knows nothing of files, of other stages, or of how it was cut.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten

from ringcore.cache import sequence
from ringcore.models.masks import MaskRule
from ringcore.models.stage import SequenceCache
from ringcore.spec.shard import Shard


class CutStage:
    """A `ModelStage`. ``embedding`` when first; ``norm`` and ``head`` when last; ``head`` may be the
    embedding (tied). ``cache_prototype``: an empty cache, copied for each sequence."""

    def __init__(
        self,
        *,
        shard: Shard,
        hidden_size: int,
        vocab_size: int,
        dtype: mx.Dtype,
        layers: Sequence[nn.Module],
        masks: MaskRule,
        cache_prototype: Sequence[Any],
        embedding: nn.Module | None,
        norm: nn.Module | None,
        head: Any,  # a module, or None
    ) -> None:
        assert len(layers) == len(cache_prototype) == shard.count
        self.shard = shard
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size
        self.dtype = dtype
        self._layers = list(layers)
        self._masks = masks
        self._cache_prototype = list(cache_prototype)
        self._embedding = embedding
        self._norm = norm
        self._head = head

    @property
    def weight_bytes(self) -> int:
        modules = [self._embedding, *self._layers, self._norm, self._head]
        arrays = [array for module in modules if module is not None for array in parameters(module)]
        return sum(array.nbytes for array in {id(array): array for array in arrays}.values())

    def make_cache(self) -> SequenceCache:
        return sequence.new(self._cache_prototype)

    def __call__(self, x: mx.array, cache: SequenceCache, want_logits: bool = True) -> mx.array:
        h = x if self._embedding is None or not self.shard.is_first else self._embedding(x)
        masks = self._masks(h, self._layers, cache)
        for layer, mask, entry in zip(self._layers, masks, cache, strict=True):
            h = layer(h, mask, cache=entry)
        if not self.shard.is_last:
            return h.astype(self.dtype)
        if not want_logits:
            # Not h: the last layer's output beyond its keys and values would be computed for nothing.
            return mx.depends([mx.zeros((x.shape[0],), self.dtype)], sequence.arrays(cache))[0]
        assert self._norm is not None and self._head is not None
        h = self._norm(h[:, -1:, :])
        logits = self._head.as_linear(h) if hasattr(self._head, "as_linear") else self._head(h)
        return logits[:, 0, :].astype(self.dtype)


def parameters(module: nn.Module) -> list[mx.array]:
    """The arrays of ``module`` that come from a checkpoint."""
    named: dict[str, mx.array] = dict(tree_flatten(module.parameters()))
    return list(named.values())
