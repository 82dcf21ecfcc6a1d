"""Reads a journal from its files, behind a writer or after it: each event once, in order.

Holds one open file and one chunk, whatever the reader's pace; that is why a slow console costs the
agent nothing. Does not decode events: it counts lines.
"""

import os
import time
from pathlib import Path
from typing import BinaryIO

from ringcore.agent.journal import Header, header_decoder, parts, read_header
from ringcore.spec.deployment import JOURNAL_FILE
from ringcore.spec.events import LogLine, Recorded, recorded_encoder

CHUNK_BYTES = 256 << 10
_BEFORE, _AFTER = b'{"type":"event","record":', b"}\n"


class Reader:
    """Events with ``seq > after``. Where files were dropped to bound the disk, a log line in the place of
    the last one that is missing says so."""

    def __init__(self, folder: Path, after: int = 0) -> None:
        self._folder = folder
        self._next = after + 1  # number of the next event to hand out
        self._file: BinaryIO | None = None
        self._at = 0  # number of the next line in the file
        self._tail = b""

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def read(self) -> bytes:
        """`Happened` messages as lines, about `CHUNK_BYTES` at most; empty when there is no more now."""
        while True:
            if self._file is None:
                said = self._open()
                if self._file is None or said:
                    return said
            data = self._file.read(CHUNK_BYTES)
            if data:
                lines = self._split(data)
                if lines:
                    return b"".join(_BEFORE + line + _AFTER for line in lines)
            elif self._left_behind():
                self.close()
            else:
                return b""

    def _split(self, data: bytes) -> list[bytes]:
        *lines, self._tail = (self._tail + data).split(b"\n")
        skip = min(max(0, self._next - self._at), len(lines))
        self._at += len(lines)
        self._next = max(self._next, self._at)
        return lines[skip:]

    def _left_behind(self) -> bool:
        """The file that was read to its end is no longer the one being written."""
        assert self._file is not None
        try:
            current = (self._folder / JOURNAL_FILE).stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(self._file.fileno())
        return (mine.st_dev, mine.st_ino) != (current.st_dev, current.st_ino)

    def _open(self) -> bytes:
        """Open the file that holds the next event; a message when events before it are gone."""
        found: tuple[Path, Header] | None = None
        for path in parts(self._folder):
            header = read_header(path)
            if header is None:
                continue
            if found is None or header.first <= self._next:
                found = (path, header)
        if found is None:
            return b""
        path, header = found
        try:
            self._file = path.open("rb")
        except FileNotFoundError:  # dropped between listing and opening: look again at the next read
            return b""
        # Renamed meanwhile or not: the header of what was opened counts.
        header = header_decoder.decode(self._file.readline())
        self._at, self._tail = header.first, b""
        if header.first <= self._next:
            return b""
        missing, self._next = header.first - self._next, header.first
        return self._gap(header, missing)

    def _gap(self, header: Header, missing: int) -> bytes:
        text = f"{missing} older events were dropped to bound the journal on disk"
        record = Recorded(
            host=header.host,
            seq=header.first - 1,
            time=time.time(),
            event=LogLine(source="agent", level="WARNING", text=text),
        )
        return _BEFORE + recorded_encoder.encode(record) + _AFTER


def last_seq(folder: Path, run_id: str) -> int:
    """Number of the last event that the journal of ``run_id`` holds; 0 when it has none."""
    path = folder / JOURNAL_FILE
    header = read_header(path)
    if header is None or header.run_id != run_id:
        return 0
    return header.first - 2 + path.read_bytes().count(b"\n")
