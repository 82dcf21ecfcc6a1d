"""Stop strings in a stream of text, wherever the pieces are cut. Knows nothing of tokens."""

from collections.abc import Sequence


class Stops:
    """``push`` pieces of text; what comes out is free of every stop string, and ends at the first."""

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = tuple(strings)
        self._held = ""
        self.found = False

    def push(self, piece: str) -> str:
        """The text that is certain now. After ``found`` nothing more comes."""
        if self.found:
            return ""
        text = self._held + piece
        ends = [at for string in self._strings if (at := text.find(string)) >= 0]
        if ends:
            self.found, self._held = True, ""
            return text[: min(ends)]
        keep = self._unsure(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was held back, when the answer ended without a stop string."""
        text, self._held = self._held, ""
        return text

    def _unsure(self, text: str) -> int:
        """Length of the longest end of ``text`` that begins a stop string."""
        longest = max((len(string) - 1 for string in self._strings), default=0)
        for size in range(min(longest, len(text)), 0, -1):
            end = text[-size:]
            if any(string.startswith(end) for string in self._strings):
                return size
        return 0
