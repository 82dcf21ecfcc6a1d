"""What a rank needs of a model: one run of its layers, as a callable over hidden states."""

from typing import Any, Protocol

import mlx.core as mx

from ringcore.cache.kinds import Holds
from ringcore.spec.shard import Shard

SequenceCache = list[Any]  # one mlx-lm cache object for each layer of the stage, for one sequence


class SharedHead(Protocol):
    """On the first or the last stage. Makes logits, lazy, of what the last stage returned (B, D)."""

    def part(self, hidden: mx.array) -> mx.array:
        """(B, rows): the first stage of the vocabulary's first rows, the last one of the others."""
        ...

    def whole(self, hidden: mx.array) -> mx.array:
        """(B, V)"""
        ...


class ModelStage(Protocol):
    """Layers ``shard`` of one model, with the embedding when first, norm and head when last.

    ``B`` sequences, ``L`` tokens, ``D`` hidden size, ``V`` vocabulary.
    """

    shard: Shard
    hidden_size: int
    vocab_size: int
    dtype: mx.Dtype  # of the hidden states between stages
    merges: bool  # whether sequences at different positions may be decoded in one call
    cache_layers: tuple[int, ...]  # the layer of each entry of a cache
    uncut: tuple[str, ...]  # classes among the whole model's caches that cannot be cut into blocks of tokens
    holds: frozenset[Holds | None]  # in which ways the whole model's caches hold a sequence
    head: SharedHead | None  # where first and last stage share it

    @property
    def weight_bytes(self) -> int:
        """Bytes of the parameters this stage holds."""
        ...

    def fingerprints(self) -> tuple[str, tuple[str, ...]]:
        """What tells the weights from all others, the same on every host and in every split: of the
        embedding, "" when not first, and of each layer."""
        ...

    def make_cache(self) -> SequenceCache:
        """Empty KV (or state) caches for one sequence, for this stage's layers."""
        ...

    def __call__(self, x: mx.array, cache: SequenceCache, want_logits: bool = True) -> mx.array:
        """First stage: token ids (B, L) int32; others: hidden states (B, L, D).

        Returns hidden states (B, L, D), or on the last stage logits (B, V) in the stage's dtype of the last
        position. On the last stage with ``want_logits`` False (a prefill chunk that is not the
        prompt's last) the head is not computed and an array that only forces the caches is returned.
        With a shared head the last stage returns what goes into that, (B, D) of the last position.
        Lazy: the caller evaluates.
        """
        ...
