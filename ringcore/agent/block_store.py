"""Files of the prefix cache's blocks on this host, as its agent passes them on: whole files, unopened.

Knows names and sizes. What is in a file is checked by the rank that reads it, however it came.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from ringcore.agent.in_thread import in_thread
from ringcore.spec.block_file import BlockFile, parse

PIECE_BYTES = 256 << 10
MOST_FILES = 1 << 16  # told of one host: those that were used last
_T = TypeVar("_T")


class Writing(Protocol):
    """A file on its way in: either `finish` or `abort` ends it. Raises ``OSError``."""

    async def write(self, piece: bytes) -> None: ...

    async def finish(self) -> None:
        """All of it is on the disk, under its name."""
        ...

    def abort(self) -> None:
        """Nothing of it is left."""
        ...


class Store(Protocol):
    """Where blocks' files lie, here or on another host. Raises ``OSError``."""

    def read(self, file: BlockFile) -> AsyncGenerator[bytes]:
        """Its content, in pieces."""
        ...

    async def begin(self, file: BlockFile) -> Writing:
        """Take its content under a temporary name."""
        ...


class BlockStore:
    """A `Store`. ``folder``: of one root."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self, most: int = MOST_FILES) -> list[BlockFile]:
        """Those that were used last; empty where there is no folder. Not for an event loop."""
        found: list[tuple[float, BlockFile]] = []
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):  # removed meanwhile
                    stat = entry.stat(follow_symlinks=False)
                    file = parse(entry.name, stat.st_size)
                    if file is not None and entry.is_file(follow_symlinks=False):
                        found.append((stat.st_mtime, file))
        found.sort(key=lambda each: each[0], reverse=True)
        return [file for _, file in found[:most]]

    async def read(self, file: BlockFile) -> AsyncGenerator[bytes]:
        handle = await _Handle.open(self._folder / file.file_name, os.O_RDONLY)
        try:
            while piece := await handle.do(handle.file.read, PIECE_BYTES):
                yield piece
        finally:
            handle.close()

    async def begin(self, file: BlockFile) -> "_Writing":
        await in_thread(lambda: self._folder.mkdir(0o700, parents=True, exist_ok=True))
        temporary = self._folder / f".{file.file_name}.{os.getpid()}.tmp"
        handle = await _Handle.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        return _Writing(handle, temporary, self._folder / file.file_name, file.size)


class _Writing:
    """See `Writing`."""

    def __init__(self, handle: "_Handle", temporary: Path, path: Path, size: int) -> None:
        self._handle = handle
        self._temporary = temporary
        self._path = path
        self._left = size

    async def write(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise OSError("there is more of the file than was told")
        await self._handle.do(self._handle.file.write, piece)

    async def finish(self) -> None:
        if self._left:
            raise OSError("there is less of the file than was told")
        await self._handle.do(self._place)

    def abort(self) -> None:
        self._handle.close(self._temporary)

    def _place(self) -> None:
        self._handle.file.flush()
        os.fsync(self._handle.file.fileno())
        self._handle.file.close()
        self._temporary.rename(self._path)


class _Handle:
    """An open file that threads work on, one at a time. Whoever stops waiting leaves the thread at work: the
    file is closed behind it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self._busy: asyncio.Future[Any] | None = None

    @classmethod
    async def open(cls, path: Path, flags: int) -> "_Handle":
        def opened() -> BinaryIO:
            mode = "rb" if flags == os.O_RDONLY else "wb"
            return os.fdopen(os.open(path, flags | os.O_NOFOLLOW, 0o600), mode)  # type: ignore[return-value]

        opening = in_thread(opened)
        try:
            return cls(await asyncio.shield(opening))
        except asyncio.CancelledError:
            opening.add_done_callback(lambda done: _leave(done, path if flags & os.O_CREAT else None))
            raise

    async def do(self, work: Callable[..., _T], *arguments: Any) -> _T:
        busy = self._busy = in_thread(work, *arguments)
        return await asyncio.shield(busy)

    def close(self, unwanted: Path | None = None) -> None:
        """And remove ``unwanted``."""

        def leave(busy: "asyncio.Future[Any] | None") -> None:
            if busy is not None:
                busy.exception()  # nobody waits for it
            _drop(self.file, unwanted)

        if self._busy is None or self._busy.done():
            leave(self._busy)
        else:
            self._busy.add_done_callback(leave)


def _leave(opening: "asyncio.Future[BinaryIO]", unwanted: Path | None) -> None:
    """Nobody waited until it was open."""
    if opening.exception() is None:
        _drop(opening.result(), unwanted)


def _drop(file: BinaryIO, unwanted: Path | None) -> None:
    with suppress(OSError):
        file.close()
    if unwanted is not None:
        with suppress(OSError):
            unwanted.unlink()
