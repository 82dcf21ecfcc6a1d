"""Which tokens a sequence may draw next so that its text follows a grammar: llguidance's masks as logits.

Lives where tokens are drawn, with the tokenizer's file of that host. Knows nothing of schemas, which
the gateway has made grammars of, or of the ring.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import mlx.core as mx
import numpy as np

from ringcore.spec.packed import unpack

CANNOT_FOLLOW = -2  # drawn in place of a token where the grammar or its tokenizer fails
_FORBIDDEN = -1e30


class Grammars:
    """Makes `Constraint`. The tokenizer is read when the first one is asked for: it takes up to a second and
    most rings never need it."""

    def __init__(self, folder: Path, vocab_size: int) -> None:
        self._file = folder / "tokenizer.json"
        self._vocab_size = vocab_size
        self._tokenizer: Any = None

    def constraint(self, grammar: str, stops: Sequence[int]) -> "Constraint":
        """``stops`` end the answer once the grammar allows its end."""
        from llguidance import LLMatcher, LLTokenizer

        if self._tokenizer is None:
            try:
                self._tokenizer = LLTokenizer(self._file.read_text(encoding="utf-8"), self._vocab_size)
            except (OSError, ValueError, RuntimeError):
                return Constraint(None, self._vocab_size, stops)
        try:
            matcher = LLMatcher(self._tokenizer, unpack(grammar), log_level=0)
        except ValueError:
            matcher = None
        return Constraint(matcher, self._vocab_size, stops)


class Constraint:
    """One sequence's place in its grammar. ``matcher`` None: it cannot be followed here."""

    def __init__(self, matcher: Any, vocab_size: int, stops: Sequence[int]) -> None:
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._stops = [stop for stop in stops if stop < vocab_size]
        self._drawn: mx.array | None = None

    def apply(self, logits: mx.array) -> mx.array | None:
        """Logits (1, V) with every token forbidden that may not come; None when nothing can. Waits for the
        token that was drawn last."""
        matcher = self._matcher
        if matcher is None:
            return None
        if self._drawn is not None and not matcher.is_stopped():
            drawn = cast(int, self._drawn.item())
            if drawn in self._stops or not matcher.consume_token(drawn):
                return None  # it has ended, and a step more was on its way
        if matcher.is_error():
            return None
        ended = matcher.is_stopped()
        allowed = np.zeros(logits.shape[-1], dtype=bool)
        if not ended:
            bits = np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)
            mask = np.unpackbits(bits, bitorder="little")[: min(self._vocab_size, allowed.size)]
            allowed[: mask.size] = mask
        if matcher.is_error():
            return None
        if ended or matcher.is_accepting():
            allowed[self._stops] = True
        if not allowed.any():
            return None
        return mx.where(mx.array(allowed)[None], logits, _FORBIDDEN)

    def observe(self, token: mx.array) -> None:
        """``token`` (1,) int32, lazy."""
        self._drawn = token
