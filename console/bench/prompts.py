"""Prompts of token ids that have nothing in common: no prefix of one serves another, no answer repeats.

Knows nothing of the tokens' meaning; ids stay clear of both ends of the vocabulary, where models keep
their special ones.
"""

import random

_FEWEST = 16


class Prompts:
    """Never gives the same prompt twice. ``seed`` makes two runs ask the same."""

    def __init__(self, vocabulary: int, seed: int = 0) -> None:
        """Raises ``ValueError`` for a vocabulary of fewer than 16 ids."""
        if vocabulary < _FEWEST:
            raise ValueError(f"a vocabulary of {vocabulary} ids cannot make prompts that differ")
        margin = min(512, vocabulary // 8)
        self._ids = range(margin, vocabulary - margin)
        self._random = random.Random(seed)
        self._first = self._random.randrange(len(self._ids))

    def take(self, count: int) -> list[int]:
        """``count`` ids. The first is another than those of the prompts before, until all were used."""
        self._first = (self._first + 1) % len(self._ids)
        return [self._ids[self._first], *self._random.choices(self._ids, k=count - 1)]
