"""The generic stage: an mlx-lm model that holds the weights of a run of its layers, called with its own code.

Holds modules whose weights are in memory. Knows nothing of files, of other stages, or of how it was cut.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ringcore.cache import sequence
from ringcore.models.caches import Caches
from ringcore.models.fingerprint import fingerprint
from ringcore.models.passage import Passage
from ringcore.models.stage import SequenceCache, SharedHead
from ringcore.models.structure import arrays_of
from ringcore.spec.shard import Shard


class CutStage:
    """A `ModelStage`. ``model``: the whole one, pruned; ``passage`` leads through it. ``layers`` are the
    stage's own; ``embedding``: what it holds before the first layer, if that is its own. ``head``: its part
    of a shared one."""

    def __init__(
        self,
        *,
        shard: Shard,
        hidden_size: int,
        vocab_size: int,
        dtype: mx.Dtype,
        model: nn.Module,
        layers: Sequence[nn.Module],
        embedding: Sequence[Any],
        passage: Passage,
        caches: Caches,
        merges: bool,
        head: SharedHead | None = None,
    ) -> None:
        self.shard = shard
        self.hidden_size = hidden_size
        self.vocab_size = vocab_size
        self.dtype = dtype
        self.merges = merges
        self.head: SharedHead | None = head
        self.uncut = caches.uncut
        self.holds = caches.holds
        self.cache_layers = caches.layers
        self._model: Any = model
        self._layers = layers
        self._embedding = embedding
        self._passage = passage
        self._caches = caches

    @property
    def weight_bytes(self) -> int:
        return sum(array.nbytes for array in {id(array): array for array in arrays_of(self._model)}.values())

    def fingerprints(self) -> tuple[str, tuple[str, ...]]:
        before = fingerprint(self._embedding) if self._embedding else ""
        return before, tuple(fingerprint([layer]) for layer in self._layers)

    def make_cache(self) -> SequenceCache:
        return sequence.new(self._caches.own)

    def __call__(self, x: mx.array, cache: SequenceCache, want_logits: bool = True) -> mx.array:
        batch, length = x.shape[:2]
        first, last = self.shard.is_first, self.shard.is_last
        ids = x if first else mx.zeros((batch, length), mx.int32)
        lead = self._passage.to_the_end if last and want_logits else self._passage.through
        before = sequence.offset(cache)
        out = lead(self._model, ids, self._caches.seen_by_the_model(cache), None if first else x)
        self._caches.advance(cache, before, length)
        if not last:
            return out.astype(self.dtype)
        if want_logits:
            return out[:, -1, :].astype(self.dtype)
        # Not out: the last layer's output beyond its keys and values would be computed for nothing.
        held = sequence.arrays(cache)
        nothing = mx.zeros((batch,), self.dtype)
        return mx.depends([nothing], held)[0] if held else nothing
