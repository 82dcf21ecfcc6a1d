"""Log lines for the tests of the store: one call a line."""

from console.logs.store import LogEntry
from ringcore.spec.events import Level


def line(text: str = "x", *, time: float = 0.0, rank: int | None = 0, level: Level = "INFO") -> LogEntry:
    return LogEntry(time, rank, "rank", level, text)


def lines(first: int, end: int) -> list[LogEntry]:
    """Lines whose text is their number."""
    return [line(str(number), time=float(number), rank=number % 3) for number in range(first, end)]
