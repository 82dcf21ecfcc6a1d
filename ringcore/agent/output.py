"""What a child prints: each line into its own rotated file, and to whoever asked, without escape codes.

Knows nothing of processes beyond the pipe. The pipe is our own: asyncio's would have a process count as
running for as long as a grandchild holds it open.
"""

import asyncio
import logging
import os
import re
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from ringcore.spec.events import Level

FILE_BYTES, OLD_FILES = 8 << 20, 2
LINE_BYTES = 16 << 10  # in the journal; the file has the whole line
_CHUNK = 1 << 16
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
_LEVEL = re.compile(r"\s*(?:\[?)(DEBUG|INFO|WARNING|ERROR|CRITICAL)\b|(Traceback \(most recent)|(\w*Error: )")


class LogFile:
    """Lines with their time in ``path``, rotated at `FILE_BYTES`. A full disk costs lines only."""

    def __init__(self, path: Path) -> None:
        self._handler = RotatingFileHandler(
            path, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8", errors="replace", delay=True
        )
        self._handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]

    def write(self, text: str) -> None:
        self._handler.emit(logging.LogRecord("", logging.INFO, "", 0, text, None, None))

    def close(self) -> None:
        self._handler.close()


class Output:
    """``say(level, text)`` for each line that comes out of the pipe ``descriptor``, which is closed behind
    the last; `finished` is the task to wait for."""

    def __init__(self, descriptor: int, file: LogFile, say: Callable[[Level, str], None]) -> None:
        self._file = file
        self._say = say
        self.finished = asyncio.create_task(self._read(descriptor), name="output")

    async def _read(self, descriptor: int) -> None:
        stream = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(descriptor, "rb", buffering=0)
        )
        try:
            await self._take_all(stream)
        finally:
            transport.close()

    async def _take_all(self, stream: asyncio.StreamReader) -> None:
        rest = b""
        while data := await stream.read(_CHUNK):
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._take(line)
            if len(rest) > LINE_BYTES:  # no newline in sight
                self._take(rest)
                rest = b""
        if rest:
            self._take(rest)

    def _take(self, line: bytes) -> None:
        # A progress bar rewrites its line: what stands there last is what it says.
        text = line.decode(errors="replace").rstrip("\r").rpartition("\r")[2]
        self._file.write(text)
        plain = _ESCAPES.sub("", text)
        if plain.strip():
            cut = plain[:LINE_BYTES] + ("…" if len(plain) > LINE_BYTES else "")
            self._say(level_of(plain), cut)


def level_of(text: str) -> Level:
    """The level a line names itself; ERROR for the first and last line of a traceback, else INFO."""
    match = _LEVEL.match(text)
    if match is None:
        return "INFO"
    word = match[1]
    if word == "DEBUG" or word == "INFO" or word == "WARNING":
        return word
    return "ERROR"
