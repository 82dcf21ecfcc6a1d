"""Blocks of earlier sequences in files: one file for each block and run of layers, found again by name.

A file holds what one rank had of a block: ``<name>.<start>-<end>.safetensors``, with a sum over its tensors.
It is written to a temporary name, synced and renamed. Whoever holds other layers later takes from the files
what is its own. What is damaged or foreign is removed and counted, never served. Knows no steps or models.
"""

import contextlib
import hashlib
import os
import shutil
import time
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from stat import S_ISREG
from typing import Any, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ringcore.spec.block_file import BlockFile, parse

_UNFINISHED = ".tmp"
_PRIVATE = 0o700


Tensors = Mapping[str, NDArray[Any]]  # names begin with the number of a layer and a point


class _File(Struct, frozen=True):
    start: int
    end: int
    path: Path
    size: int


class Prepared(Struct, frozen=True):
    """A block's file, whole and synced under a temporary name."""

    name: bytes
    file: _File
    temporary: Path


class Figures(NamedTuple):
    """Blocks and bytes on disk; damaged files that were removed; what of the blocks came from other hosts."""

    blocks: int
    bytes: int
    damaged: int
    brought: int
    brought_bytes: int


class Disk:
    """Under ``folder``: files of ``root`` (what the names of the blocks hang on); of others nothing is left.
    At most ``blocks`` blocks, the least recently used go first, and none that is older than
    ``ttl_seconds`` (0: no end). Raises ``OSError`` where the folder cannot be used."""

    def __init__(self, folder: Path, root: bytes, blocks: int, ttl_seconds: float) -> None:
        self._root = root.hex()
        self._folder = folder / self._root
        self._blocks = blocks
        self._ttl = ttl_seconds
        self._files: OrderedDict[bytes, list[_File]] = OrderedDict()  # least recently used first
        self.nbytes = 0
        self.damaged = 0
        self.brought = 0  # blocks of which files came from other hosts
        self.brought_bytes = 0
        self._folder.mkdir(_PRIVATE, parents=True, exist_ok=True)
        for other in folder.iterdir():
            if other != self._folder:
                shutil.rmtree(other) if other.is_dir() else other.unlink()
        self._find()
        self.trim()

    @property
    def figures(self) -> Figures:
        return Figures(len(self), self.nbytes, self.damaged, self.brought, self.brought_bytes)

    def __len__(self) -> int:
        return len(self._files)

    def has(self, name: bytes, start: int, end: int) -> bool:
        """Whether files hold layers ``start`` to ``end`` of the block."""
        files = self._files.get(name, ())
        return all(any(f.start <= layer < f.end for f in files) for layer in range(start, end))

    def write(self, name: bytes, start: int, end: int, tensors: Tensors) -> None:
        """Raises ``OSError``; then nothing of it is left."""
        self.keep(self.prepare(name, start, end, tensors))

    def prepare(self, name: bytes, start: int, end: int, tensors: Tensors) -> Prepared:
        """The slow part of `write`, which may run beside every other method. Raises ``OSError``."""
        path = self._folder / BlockFile(name.hex(), start, end).file_name
        content = save(dict(tensors), {"root": self._root, "block": name.hex(), "sum": _sum(tensors)})
        temporary = path.with_suffix(f".{os.getpid()}{_UNFINISHED}")
        try:
            temporary.touch(0o600)
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            _remove(temporary)
            raise
        return Prepared(name, _File(start, end, path, len(content)), temporary)

    def keep(self, prepared: Prepared) -> None:
        """From now on the block is found. Raises ``OSError``."""
        try:
            prepared.temporary.rename(prepared.file.path)
        except OSError:
            self.discard(prepared)
            raise
        self._note(prepared.name, prepared.file)
        self.trim()

    def discard(self, prepared: Prepared) -> None:
        """It is not wanted any more."""
        _remove(prepared.temporary)

    def read(self, name: bytes, start: int, end: int) -> Tensors | None:
        """The tensors of layers ``start`` to ``end``; None when files lack some. A file that is not what it
        says is removed."""
        if not self.has(name, start, end):
            self._look_for(name)
        found: dict[str, NDArray[Any]] = {}
        for file in tuple(self._files.get(name, ())):
            if file.start < end and start < file.end:
                content = self._content(name, file)
                found |= {
                    key: array for key, array in content.items() if start <= int(key.partition(".")[0]) < end
                }
        if not self.has(name, start, end):
            return None
        self.use(name)
        return found

    def use(self, name: bytes) -> None:
        """The block counts as used now, wherever it was read from."""
        if name not in self._files:
            return
        self._files.move_to_end(name)
        for file in self._files[name]:
            with contextlib.suppress(OSError):  # gone, or on a disk that takes nothing more
                os.utime(file.path)

    def trim(self) -> None:
        """Remove what is too much or too old."""
        while len(self._files) > self._blocks:
            self._drop(next(iter(self._files)))
        while self._ttl and self._files:
            oldest = next(iter(self._files))
            if all(time.time() - _used(file.path) <= self._ttl for file in self._files[oldest]):
                return
            self._drop(oldest)

    def clear(self) -> None:
        """Remove every block, also what was brought here and never looked for."""
        for name in tuple(self._files):
            self._drop(name)
        with contextlib.suppress(OSError):
            for path in self._folder.iterdir():
                if parse(path.name, 0) is not None:
                    _remove(path)

    def _content(self, name: bytes, file: _File) -> Tensors:
        try:
            with safe_open(file.path, framework="np") as opened:
                said: dict[str, str] = opened.metadata() or {}
                tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            known = said.get("root") == self._root and said.get("block") == name.hex()
            if known and said.get("sum") == _sum(tensors):
                return tensors
        except (OSError, ValueError, SafetensorError):
            pass
        self._damaged(file.path)
        self._files[name] = [other for other in self._files[name] if other is not file]
        self.nbytes -= file.size
        if not self._files[name]:
            del self._files[name]
        return {}

    def _find(self) -> None:
        found: list[tuple[float, bytes, _File]] = []
        for path in self._folder.iterdir():
            stat = path.lstat()
            said = parse(path.name, stat.st_size)
            if path.suffix == _UNFINISHED and S_ISREG(stat.st_mode):
                _remove(path)  # whoever wrote it was ended: nothing was lost that was ever found
                continue
            if said is None or not S_ISREG(stat.st_mode):
                self._damaged(path)
                continue
            file = _File(said.start, said.end, path, said.size)
            found.append((stat.st_mtime, bytes.fromhex(said.name), file))
        for _, name, file in sorted(found, key=lambda each: each[0]):
            self._note(name, file)

    def _look_for(self, name: bytes) -> None:
        """Files of the block that came since this was opened: the agent puts them here."""
        known = {file.path for file in self._files.get(name, ())}
        came = 0
        for path in self._folder.glob(f"{name.hex()}.*"):
            with contextlib.suppress(OSError):
                stat = path.lstat()
                said = parse(path.name, stat.st_size)
                if said is not None and path not in known and S_ISREG(stat.st_mode):
                    self._note(name, _File(said.start, said.end, path, said.size))
                    came += said.size
        if came:
            self.brought += 1
            self.brought_bytes += came
            self.trim()

    def _note(self, name: bytes, file: _File) -> None:
        files = self._files.setdefault(name, [])
        for other in [each for each in files if each.path == file.path]:
            files.remove(other)
            self.nbytes -= other.size
        files.append(file)
        self._files.move_to_end(name)
        self.nbytes += file.size

    def _drop(self, name: bytes) -> None:
        for file in self._files.pop(name):
            _remove(file.path)
            self.nbytes -= file.size

    def _damaged(self, path: Path) -> None:
        self.damaged += 1
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _remove(path)


def _remove(path: Path) -> None:
    """What cannot be removed stays: it is not served, and the next start finds it."""
    with contextlib.suppress(OSError):
        path.unlink()


def _used(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _sum(tensors: Tensors) -> str:
    found = hashlib.blake2b(digest_size=16)
    for key in sorted(tensors):
        array = np.ascontiguousarray(tensors[key])
        found.update(f"{key} {array.dtype.str} {list(array.shape)}\n".encode())
        found.update(array.view(np.uint8).reshape(-1).data if array.size else b"")
    return found.hexdigest()
