"""A bounded store of log lines under absolute sequence numbers, and filtered views of it.

The oldest lines give way to new ones; numbers are never reused, so a reader can prove what it missed.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from ringcore.spec.events import Level, Source

CAPACITY = 50_000


class LogEntry(NamedTuple):
    """``time`` in seconds since the Unix epoch on the host's clock; ``text`` is safe to draw."""

    time: float
    rank: int | None
    source: Source
    level: Level
    text: str


class LogStore:
    """The newest ``capacity`` lines. Sequence numbers start at 0 and count every line ever added."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        assert capacity > 0
        self.capacity = capacity
        self._ring: list[LogEntry] = []
        self.end = 0  # the number that the next line will get

    @property
    def first(self) -> int:
        """The oldest number that is still here; also how many lines were dropped."""
        return self.end - len(self._ring)

    @property
    def dropped(self) -> int:
        return self.first

    def __len__(self) -> int:
        return len(self._ring)

    def add(self, entries: Iterable[LogEntry]) -> None:
        ring, capacity = self._ring, self.capacity
        for entry in entries:
            if len(ring) < capacity:
                ring.append(entry)
            else:
                ring[self.end % capacity] = entry
            self.end += 1

    def __getitem__(self, sequence: int) -> LogEntry:
        """Raises ``IndexError`` when that line was dropped or has not come yet."""
        if not self.first <= sequence < self.end:
            raise IndexError(f"line {sequence} is not among {self.first}..{self.end}")
        return self._ring[sequence % self.capacity]


class LogFilter(NamedTuple):
    """``text`` is looked for anywhere in the line, whatever its case; ``rank`` None means all."""

    text: str = ""
    rank: int | None = None

    def __bool__(self) -> bool:
        return bool(self.text) or self.rank is not None

    def accepts(self, entry: LogEntry) -> bool:
        if self.rank is not None and entry.rank != self.rank:
            return False
        return not self.text or self.text.casefold() in entry.text.casefold()


class LogView:
    """The sequence numbers that a filter lets through, in order. `update` follows the store."""

    def __init__(self, store: LogStore, chosen: LogFilter | None = None) -> None:
        self.store = store
        self.filter = chosen or LogFilter()
        self._numbers: list[int] = []  # used with a filter only
        self._start = 0  # numbers before this index were dropped by the store
        self._scanned = store.first
        self._first = store.first  # without a filter, the view is first..end as of the last update
        self._end = store.first
        self.update()

    def __len__(self) -> int:
        return len(self._numbers) - self._start if self.filter else self._end - self._first

    def __getitem__(self, row: int) -> int:
        """Sequence number of the line in ``row`` (0 is the oldest)."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)}")
        return self._numbers[self._start + row] if self.filter else self._first + row

    def update(self) -> int:
        """Take in what is new, let go what was dropped. Returns how many rows went at the front."""
        store = self.store
        if not self.filter:
            gone = min(store.first - self._first, len(self)) if store.first > self._first else 0
            self._first, self._end = store.first, store.end
            return gone
        before = self._start
        self._start = bisect_left(self._numbers, store.first, lo=self._start)
        gone = self._start - before
        if self._start > 4096:
            del self._numbers[: self._start]
            self._start = 0
        accepts = self.filter.accepts
        for number in range(max(self._scanned, store.first), store.end):
            if accepts(store[number]):
                self._numbers.append(number)
        self._scanned = store.end
        return gone
