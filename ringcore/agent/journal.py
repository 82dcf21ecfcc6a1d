"""The journal of a run: every event numbered 1, 2, 3, ... and appended to files of bounded size.

``events.jsonl`` is written now; full ones become ``events-<first seq>.jsonl`` of which the newest are
kept. Each begins with a `Header`, so every line's number follows from its place. The journal of the
run before is kept once as ``events.1.jsonl``. Reading is `replay.Reader`'s.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from ringcore import __version__
from ringcore.spec.deployment import JOURNAL_FILE, Deployment
from ringcore.spec.events import (
    Event,
    LogLine,
    MemoryUsed,
    RankChanged,
    Recorded,
    RingChanged,
    recorded_encoder,
)

SEGMENT_BYTES = 12 << 20
KEPT_SEGMENTS = 3  # besides the one being written; with the old run's below 64 MB
UNWRITTEN_BYTES = 4 << 20  # held while the disk is full; log lines beyond that are counted, not kept
OLD_RUN = "events.1.jsonl"
_PART = "events-{:012d}.jsonl"


class Header(Struct, frozen=True, kw_only=True):
    """First line of a journal file; ``first`` is the number of the event in the second line."""

    ring: str
    run_id: str
    host: str
    rank: int
    first: int
    version: str = __version__


header_decoder = msgspec.json.Decoder(Header)


def parts(folder: Path) -> list[Path]:
    """The run's files, oldest first."""
    current = folder / JOURNAL_FILE
    return [*sorted(folder.glob("events-*.jsonl")), *([current] if current.exists() else [])]


def read_header(path: Path) -> Header | None:
    """None when the file is missing or its first line is damaged."""
    try:
        with path.open("rb") as file:
            return header_decoder.decode(file.readline(1 << 16))
    except (OSError, msgspec.MsgspecError):
        return None


class Journal:
    """The writer. Continues the journal of the same ``run_id``, puts that of another aside.

    ``appended`` is called after each event, ``flushed`` after events have reached the file. Raises
    ``OSError`` when the folder cannot be written at the start; later a full disk delays, and at worst
    costs log lines, which are counted.
    """

    def __init__(self, folder: Path, deployment: Deployment, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.seq = 0
        self.appended: Callable[[], None] = lambda: None
        self.flushed: Callable[[], None] = lambda: None
        self.lost_lines = 0
        self._folder = folder
        self._path = folder / JOURNAL_FILE
        self._segment_bytes = segment_bytes
        self._deployment = deployment
        self._pending = bytearray()
        self._standing: dict[type[Event], Event] = {}  # repeated in each new file: what a replay must know
        header = read_header(self._path)
        if header is not None and header.run_id == deployment.run_id:
            self.seq = header.first - 1 + _complete_lines(self._path)
            self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            self._size = os.fstat(self._descriptor).st_size
        else:
            for part in folder.glob("events-*.jsonl"):
                part.unlink()
            if self._path.exists():
                self._path.replace(folder / OLD_RUN)
            self._open_part()

    @property
    def unwritten(self) -> bool:
        return bool(self._pending)

    def append(self, event: Event) -> Recorded | None:
        """Number ``event`` and keep it for the next `flush`. None when it had to be dropped."""
        if isinstance(event, LogLine) and len(self._pending) > UNWRITTEN_BYTES:
            self.lost_lines += 1
            return None
        self.seq += 1
        record = Recorded(host=self._deployment.me.host, seq=self.seq, time=time.time(), event=event)
        self._pending += recorded_encoder.encode(record) + b"\n"
        if isinstance(event, RingChanged):
            before = self._standing.get(RingChanged)
            plan = event.plan or (before.plan if isinstance(before, RingChanged) else None)
            self._standing[RingChanged] = structs.replace(event, plan=plan)
        elif isinstance(event, RankChanged | MemoryUsed):
            self._standing[type(event)] = event
        self.appended()
        return record

    def flush(self) -> None:
        """Everything so far to the file (not to the platter: a crash of the host may cost the end)."""
        if not self._pending:
            return
        self._write()
        if not self._pending and self._size >= self._segment_bytes:
            self._rotate()
        if self.lost_lines and not self._pending:
            lost, self.lost_lines = self.lost_lines, 0
            self.append(
                LogLine(source="agent", level="ERROR", text=f"the disk was full: {lost} lines are lost")
            )
        self.flushed()

    def close(self) -> None:
        self.flush()
        os.close(self._descriptor)

    def _write(self) -> None:
        try:
            while self._pending:
                written = os.write(self._descriptor, self._pending)
                self._size += written
                del self._pending[:written]
        except OSError:  # no space: make some, and try again with the next event
            oldest = parts(self._folder)[:-1]
            if oldest:
                oldest[0].unlink(missing_ok=True)

    def _rotate(self) -> None:
        header = read_header(self._path)
        assert header is not None
        os.close(self._descriptor)
        self._path.replace(self._folder / _PART.format(header.first))
        for old in parts(self._folder)[:-KEPT_SEGMENTS]:
            old.unlink(missing_ok=True)
        self._open_part()
        for event in tuple(self._standing.values()):
            self.append(event)
        self._write()

    def _open_part(self) -> None:
        member = self._deployment.me
        header = Header(
            ring=self._deployment.ring,
            run_id=self._deployment.run_id,
            host=member.host,
            rank=member.rank,
            first=self.seq + 1,
        )
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.write(self._descriptor, msgspec.json.encode(header) + b"\n")


def _complete_lines(path: Path) -> int:
    """Events in the file, after cutting off a last line that a crash has left unfinished."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end != len(data):
        os.truncate(path, end)
    return data.count(b"\n", 0, end) - 1
