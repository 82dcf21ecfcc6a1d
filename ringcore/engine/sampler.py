"""Draws the next token of one sequence from logits. Random numbers are keyed by seed and position.

So a seeded request gives the same tokens alone, beside others, and on any number of ranks. The
filters are mlx-lm's. Knows nothing of sequences' caches or of the ring.
"""

from collections.abc import Callable

import mlx.core as mx
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p

from ringcore.spec.engine import Sampling

_MASK = (1 << 64) - 1
Sampler = Callable[[mx.array, int], mx.array]


def make_sampler(sampling: Sampling) -> Sampler:
    """A function of logits (B, V) and the position of the token to draw -> ids (B,) int32, lazy.

    ``sampling.seed`` must be set unless the temperature is 0.
    """
    if sampling.temperature <= 0:
        return lambda logits, position: mx.argmax(logits, axis=-1).astype(mx.int32)
    seed = sampling.seed or 0

    def draw(logits: mx.array, position: int) -> mx.array:
        logits = logits.astype(mx.float32)
        scores = logits - mx.logsumexp(logits, axis=-1, keepdims=True)
        if 0 < sampling.top_p < 1:
            scores = apply_top_p(scores, sampling.top_p)
        if sampling.min_p > 0:
            scores = apply_min_p(scores, sampling.min_p)
        if 0 < sampling.top_k < logits.shape[-1]:
            scores = apply_top_k(scores, sampling.top_k)
        key = mx.random.key(mix(seed, position))
        drawn = mx.random.categorical(scores * (1 / sampling.temperature), key=key)
        return drawn.astype(mx.int32)

    return draw


def mix(seed: int, position: int) -> int:
    """A 64-bit number from seed and position: splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (seed * 0x9E3779B97F4A7C15 + position * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)
