"""Tokens to text as they come: whole characters only. Knows nothing of stops or requests."""

from collections.abc import Callable, Sequence

Decode = Callable[[Sequence[int]], str]

_UNFINISHED = "\ufffd"
# Four bytes make the longest character and every token has at least one: past this many tokens
# the bytes belong to no character, and waiting longer would only hold the text back.
_LONGEST_WAIT = 8


class Detokenizer:
    """``push`` each token; the pieces and `flush` together are the text of all tokens."""

    def __init__(self, decode: Decode) -> None:
        self._decode = decode
        # The window starts with the tokens of the piece before: how a decoder treats a token
        # (a leading space, a run of bytes) can hang on what stands before it.
        self._window: list[int] = []
        self._known = 0  # tokens of the window whose text is out

    def push(self, token: int) -> str:
        """The text that is certain now; empty in the middle of a character."""
        self._window.append(token)
        text = self._new_text()
        if (not text or text.endswith(_UNFINISHED)) and len(self._window) - self._known < _LONGEST_WAIT:
            return ""
        self._window = self._window[self._known :]
        self._known = len(self._window)
        return text

    def flush(self) -> str:
        """What the last tokens left unfinished, with U+FFFD for bytes that never became a character."""
        text = self._new_text()
        self._window, self._known = [], 0
        return text

    def _new_text(self) -> str:
        before = self._decode(self._window[: self._known])
        return self._decode(self._window)[len(before) :]
