"""What changes logits before a token is drawn: bias and penalties of one sequence, with its history.

Bias and repetition penalty are mlx-lm's, the latter over the last tokens of prompt and answer. The
presence and frequency penalties are OpenAI's: logit of j - (c(j) > 0) * presence - c(j) * frequency,
where c(j) counts how often j was drawn in the whole answer; the prompt does not count. mlx-lm's
functions give the same for a context that reaches back to the answer's first token, but take longer the
longer it is. (https://platform.openai.com/docs/api-reference/chat/create)

The history stays on the device: the next token may be asked for while this one is still computed.
"""

import mlx.core as mx
from mlx_lm.sample_utils import make_logits_processors

from ringcore.engine.opening import Opening


class Penalties:
    """``apply`` to the logits, then ``observe`` the token that was drawn from them."""

    def __init__(self, opening: Opening) -> None:
        self._presence, self._frequency = opening.presence_penalty, opening.frequency_penalty
        self._context = opening.repetition_context if opening.repetition_penalty != 1 else 0
        self._recent = mx.array(opening.tail, dtype=mx.int32)
        self._counts: mx.array | None = None
        self._processors = make_logits_processors(
            logit_bias=dict(opening.logit_bias),
            repetition_penalty=opening.repetition_penalty if self._context else None,
            repetition_context_size=opening.repetition_context,
        )

    def apply(self, logits: mx.array) -> mx.array:
        """Logits (1, V) float32, changed; those that came in stay as they are."""
        logits = mx.array(logits)  # mlx-lm writes into what it is given
        for process in self._processors:
            logits = process(self._recent, logits)
        if self._counts is not None:
            logits = logits - self._frequency * self._counts - self._presence * (self._counts > 0)
        elif self._presence or self._frequency:
            self._counts = mx.zeros(logits.shape)
        return logits

    def observe(self, token: mx.array) -> None:
        """``token`` (1,) int32, lazy."""
        if self._context:
            self._recent = mx.concatenate([self._recent, token])[-self._context :]
        if self._counts is not None:
            self._counts = self._counts.at[:, token].add(1.0)
