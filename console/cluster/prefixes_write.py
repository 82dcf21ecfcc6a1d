"""Writes an archive of blocks: all of it under its name, or nothing. Knows no hosts."""

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import structs

from console.cluster.prefixes_archive import FOLDER, MANIFEST, Block, Manifest, Part
from ringcore.spec.block_file import BlockFile
from ringcore.spec.errors import MlxringError, ProfileError


class Writer:
    """Takes blocks one after the other; what becomes of them is in ``blocks``."""

    def __init__(self, file: BinaryIO, planned: Manifest) -> None:
        self.blocks: list[Block] = []
        self._file = file
        self._planned = planned
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115 - `finish`
        self._room = len(msgspec.json.encode(planned))  # sums have one length, and blocks only become fewer
        self._add(MANIFEST, b" " * self._room)

    def add(self, name: str, parts: Sequence[tuple[BlockFile, bytes]]) -> None:
        """All layers of a block. Raises ``OSError``."""
        for file, data in parts:
            self._add(FOLDER + file.file_name, data)
        self.blocks.append(
            Block(name, tuple(Part(f.start, f.end, len(d), hashlib.sha256(d).hexdigest()) for f, d in parts))
        )

    def finish(self) -> Manifest:
        """Raises ``OSError``."""
        size = sum(part.bytes for block in self.blocks for part in block.parts)
        manifest = structs.replace(self._planned, blocks=tuple(self.blocks), bytes=size)
        self._tar.close()
        self._file.seek(tarfile.BLOCKSIZE)
        self._file.write(msgspec.json.encode(manifest).ljust(self._room))
        return manifest

    def _add(self, name: str, data: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(data), 0o600
        self._tar.addfile(entry, io.BytesIO(data))


@contextmanager
def new_archive(path: Path, planned: Manifest) -> Generator[Writer, None, None]:
    """The file at ``path`` holds what the writer was given when the block is left well; else it is as it was.
    Raises `MlxringError` where it cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            yield Writer(file, planned)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        raise MlxringError(
            f"{path} cannot be written: {error.strerror or error}",
            "name a file in a folder that you may write, on a disk with room for it",
        ) from None
    finally:
        with suppress(OSError):
            temporary.unlink()


def see_that_it_may_be_written(path: Path) -> None:
    """Raises `ProfileError` where something else than an archive is at ``path``, or no folder for it."""
    if not path.parent.is_dir():
        raise ProfileError(f"there is no folder {path.parent}", "make it, or name another file")
    with suppress(FileNotFoundError):
        if stat.S_ISREG(path.lstat().st_mode) and (path.stat().st_size == 0 or _is_archive(path)):
            return
        raise ProfileError(
            f"{path} is there already, and is no archive of a prefix cache",
            "name another file, or remove that one",
        )


def _is_archive(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MANIFEST) + 1) == MANIFEST.encode() + b"\0"
    except OSError:
        return False


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
