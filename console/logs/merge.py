"""Lines of several hosts into one order by time, each held back a moment so that late ones fit in.

Time is passed in: nothing here reads a clock.
"""

from operator import attrgetter

from console.logs.store import LogEntry

HOLD_SECONDS = 0.25
MAX_HELD = 20_000

_time = attrgetter("time")


class Merger:
    """`push` lines as they arrive; `pop` those that waited ``hold`` seconds, sorted by their own time.

    A host whose clock is behind delays nobody: with a line that has waited go all lines that are
    older by their own time, and no line waits longer than ``hold``.
    """

    def __init__(self, hold: float = HOLD_SECONDS) -> None:
        self.hold = hold
        self._held: list[LogEntry] = []
        self._arrivals: list[float] = []

    def __len__(self) -> int:
        return len(self._held)

    def push(self, entry: LogEntry, now: float) -> None:
        """``now`` in seconds of any clock that does not go back."""
        self._held.append(entry)
        self._arrivals.append(now)

    def pop(self, now: float) -> list[LogEntry]:
        """Lines whose time has come, oldest first; equal times keep the order of arrival."""
        if not self._held:
            return []
        ripe = len(self._held) > MAX_HELD or self._arrivals[-1] <= now - self.hold
        if ripe:
            ready, self._held, self._arrivals = self._held, [], []
            return sorted(ready, key=_time)
        waited = [e for e, at in zip(self._held, self._arrivals, strict=True) if at <= now - self.hold]
        if not waited:
            return []
        newest = max(entry.time for entry in waited)
        ready: list[LogEntry] = []
        held: list[LogEntry] = []
        arrivals: list[float] = []
        for entry, at in zip(self._held, self._arrivals, strict=True):
            if at <= now - self.hold or entry.time <= newest:
                ready.append(entry)
            else:
                held.append(entry)
                arrivals.append(at)
        self._held, self._arrivals = held, arrivals
        return sorted(ready, key=_time)
