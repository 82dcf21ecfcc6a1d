"""How long a prompt's chunk may be while answers run, from what steps have taken so far. Reads no clock.

A chunk makes every running answer wait for as long as the slowest stage works on it. So it gets as many
tokens as take `SHARE` of the time that a round of all groups takes: an answer's tokens then come at most
about ``1 + SHARE`` times as far apart as without the prompt.
"""

SHARE = 1.25
FIRST_CHUNK = 8  # tokens, before anything was measured
_WEIGHT = 0.2  # of the newest measurement


class Pace:
    """Seconds of compute on the slowest stage: of a decode step, and of a token of a chunk."""

    def __init__(self) -> None:
        self._step = 0.0
        self._token = 0.0

    def decoded(self, seconds: float) -> None:
        """A decode step of one group took that long."""
        self._step = _mixed(self._step, seconds)

    def prefilled(self, tokens: int, seconds: float) -> None:
        """A chunk of ``tokens`` took that long."""
        self._token = _mixed(self._token, seconds / max(1, tokens))

    @property
    def token_seconds(self) -> float:
        """Of a token of a chunk; 0 before anything was measured."""
        return self._token

    def chunk(self, groups: int) -> int:
        """Tokens of a chunk beside ``groups`` that decode; at least 1."""
        if not self._step or not self._token:
            return FIRST_CHUNK
        return max(1, int(SHARE * max(1, groups) * self._step / self._token))


def _mixed(known: float, new: float) -> float:
    return known + _WEIGHT * (new - known) if known else new
