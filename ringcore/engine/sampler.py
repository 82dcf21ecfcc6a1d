"""Draws the tokens of one sequence from logits. Random numbers are keyed by seed and position.

So a seeded request gives the same tokens alone, beside others, and on any number of ranks. Order,
as in mlx-lm: bias and penalties, top-p, min-p, top-k, temperature; a grammar's mask comes after the
penalties. Knows nothing of caches or the ring.
"""

from typing import NamedTuple

import mlx.core as mx
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p

from ringcore.engine.grammar import CANNOT_FOLLOW, Constraint
from ringcore.engine.opening import Opening
from ringcore.engine.penalties import Penalties
from ringcore.spec.engine import Sampling

_MASK = (1 << 64) - 1
LEAST_LOGPROB = -9999.0  # JSON has no infinity
_COLDEST = 1e-6  # below, its reciprocal times a logarithm leaves float32


class Drawn(NamedTuple):
    """``token`` (1,) int32. ``words`` (1 + n,) int32: the token, then the words of its log-probabilities
    (`ringcore.engine.logprobs`), none when they were not asked for. Both lazy."""

    token: mx.array
    words: mx.array


class Sampler:
    """One sequence's. Every token it draws becomes part of the history that its penalties look at, whether
    or not it has been computed when the next is asked for."""

    def __init__(self, opening: Opening, constraint: Constraint | None = None) -> None:
        """``opening.seed`` must be set unless the temperature is 0. ``constraint`` is the grammar's."""
        self._opening = opening
        self._constraint = constraint
        changed = opening.logit_bias or opening.presence_penalty or opening.frequency_penalty
        self._penalties = Penalties(opening) if changed or opening.repetition_penalty != 1 else None

    def draw(self, logits: mx.array, position: int) -> Drawn:
        """``logits`` (1, V) in any dtype; ``position``: that of the token to draw."""
        changed = logits
        if self._penalties is not None:
            changed = self._penalties.apply(logits.astype(mx.float32))
        if self._constraint is not None:
            allowed = self._constraint.apply(changed.astype(mx.float32))
            if allowed is None:
                token = mx.array([CANNOT_FOLLOW], dtype=mx.int32)
                return Drawn(token, token)
            changed = allowed
        token = draw(changed, self._opening, position)
        if self._constraint is not None:
            self._constraint.observe(token)
        if self._penalties is not None:
            self._penalties.observe(token)
        asked = self._opening.logprobs
        return Drawn(token, token if asked is None else _with_logprobs(token, logits, asked))


def draw(logits: mx.array, sampling: Sampling, position: int) -> mx.array:
    """Ids (B,) int32, lazy, from logits (B, V): temperature and filters, no history."""
    if sampling.temperature <= 0:
        return mx.argmax(logits, axis=-1).astype(mx.int32)
    scores = _log_softmax(logits)
    if 0 < sampling.top_p < 1:
        scores = apply_top_p(scores, sampling.top_p)
    if sampling.min_p > 0:
        scores = apply_min_p(scores, sampling.min_p)
    if 0 < sampling.top_k < logits.shape[-1]:
        scores = apply_top_k(scores, sampling.top_k)
    key = mx.random.key(mix(sampling.seed or 0, position))
    return mx.random.categorical(scores * (1 / max(sampling.temperature, _COLDEST)), key=key).astype(mx.int32)


def mix(seed: int, position: int) -> int:
    """A 64-bit number from seed and position: splitmix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    value = (seed * 0x9E3779B97F4A7C15 + position * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def _with_logprobs(token: mx.array, logits: mx.array, count: int) -> mx.array:
    logprobs = _log_softmax(logits)[0]
    logprobs = mx.where(logprobs > LEAST_LOGPROB, logprobs, LEAST_LOGPROB)
    count = min(count, logprobs.size)
    parts = [token, logprobs[token].view(mx.int32)]
    if count:
        top = mx.argpartition(-logprobs, kth=count - 1)[:count]
        top = top[mx.argsort(-logprobs[top])].astype(mx.int32)
        parts += [top, logprobs[top].view(mx.int32)]
    return mx.concatenate(parts)


def _log_softmax(logits: mx.array) -> mx.array:
    logits = logits.astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)
