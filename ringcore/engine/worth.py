"""Whether blocks are brought from other hosts or computed again: whichever takes less time. Pure.

Both are reckoned from what was measured in this run, and before anything was, from what is assumed here.
"""

from msgspec import Struct

from ringcore.spec.units import format_bytes

ASSUMED_BYTES_PER_SECOND = 50e6  # a gigabit link, and half of what passes the leader's host is only passed on
ASSUMED_SECONDS_PER_TOKEN = 1 / 200  # of a prompt: of machines that need each other for a model
FIXED_SECONDS = 0.1  # connections, and orders there and back
_WEIGHT = 0.5  # of the newest measurement
_PATIENCE = 3.0  # times as long as expected
_LEAST_SECONDS, _MOST_SECONDS = 1.0, 30.0


class Choice(Struct, frozen=True):
    """``size`` bytes would be moved, or ``tokens`` computed; seconds that each would take."""

    size: int
    tokens: int
    moving: float
    computing: float

    @property
    def pays(self) -> bool:
        """Moving takes less time."""
        return self.moving < self.computing

    @property
    def limit(self) -> float:
        """Seconds that are waited for it: no longer than computing takes, and than is likely to help."""
        return min(_MOST_SECONDS, max(_LEAST_SECONDS, min(self.computing, _PATIENCE * self.moving)))

    def __str__(self) -> str:
        return (
            f"{self.tokens} tokens: {format_bytes(self.size)} from other hosts take about "
            f"{self.moving:.2f} s, computing {self.computing:.2f} s"
        )


class Worth:
    """How fast files come from other hosts."""

    def __init__(self, bytes_per_second: float = ASSUMED_BYTES_PER_SECOND) -> None:
        self.bytes_per_second = bytes_per_second

    def moved(self, size: int, seconds: float) -> None:
        """``size`` bytes came in ``seconds``, in which more may have been wanted."""
        took = max(1e-3, seconds - FIXED_SECONDS)
        self.bytes_per_second += _WEIGHT * (size / took - self.bytes_per_second)

    def choice(self, size: int, tokens: int, seconds_per_token: float, ahead: int = 0) -> Choice:
        """``seconds_per_token``: of a prompt, as measured; 0 where it was not. ``ahead``: bytes that are on
        their way for others, and come first."""
        moving = FIXED_SECONDS + (ahead + size) / max(1.0, self.bytes_per_second)
        return Choice(size, tokens, moving, tokens * (seconds_per_token or ASSUMED_SECONDS_PER_TOKEN))
