"""The host's end of carrying blocks between rings: what lies there, giving files, taking files.

This file is sent to hosts as text and run there (``python -c TEXT TASK FOLDER [ROOT]``): standard library
only, nothing of this project, Python 3.8. ``FOLDER`` is where a ring keeps blocks, ``ROOT`` what their names
hang on; see `ringcore.cache.disk`. Answers are JSON lines; ``{"ok": false, "cause": ..., "full": ...}`` says
why not.

``list`` answers once: ``{"free": bytes, "roots": {ROOT: [[NAME, bytes, last used], ...]}}``.

``give`` reads names of files, one a line, to an empty line; answers each with ``{"name": ..., "bytes": ...}``
and so many bytes, or with ``{"name": ..., "gone": true}``.

``same`` reads lines ``SUM NAME`` to an empty line and answers each with ``{"name": ..., "same": BOOL}``:
whether the file is there with that SHA-256 already.

``take`` reads, again and again, a line ``{"name": ..., "bytes": ..., "sum": ...}`` and the bytes, and answers
``{"done": NAME}``; an empty line ends it. A file has its name only when all of it is on the disk.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[0-9a-f]{32}\.[0-9]{1,6}-[0-9]{1,6}\.safetensors")
_ROOT = re.compile(r"[0-9a-f]{32}")
_MOST_BYTES = 2 << 30  # of one block's file
_LINE = 4096


class Refused(Exception):
    """Why it cannot be done, in words."""


def listing(folder: Path) -> dict[str, Any]:
    """What is there. Makes nothing."""
    roots: dict[str, list[Any]] = {}
    for root in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _ROOT.fullmatch(root.name) and root.is_dir() and not root.is_symlink():
            roots[root.name] = list(_files(root))
    place = folder
    while not place.exists():
        place = place.parent
    about = os.statvfs(place)
    return {"free": about.f_bavail * about.f_frsize, "roots": roots}


def _files(root: Path) -> Iterator[list[Any]]:
    for path in root.iterdir():
        if _NAME.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            with suppress(FileNotFoundError):  # a ring that runs may remove it at any moment
                stat = path.stat()
                yield [path.name, stat.st_size, stat.st_mtime]


def give(root: Path, source: BinaryIO, sink: BinaryIO) -> None:
    for name in list(_lines(source)):
        data = _content(root / _checked(name))
        if data is None:
            say({"name": name, "gone": True})
            continue
        say({"name": name, "bytes": len(data)})
        sink.write(data)
        sink.flush()


def _content(path: Path) -> bytes | None:
    try:
        with os.fdopen(os.open(str(path), os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read() if os.fstat(file.fileno()).st_size <= _MOST_BYTES else None
    except FileNotFoundError:
        return None


def same(root: Path, source: BinaryIO) -> None:
    for line in list(_lines(source)):
        expected, _, name = line.partition(" ")
        data = _content(root / _checked(name))
        say({"name": name, "same": data is not None and hashlib.sha256(data).hexdigest() == expected})


def take(root: Path, source: BinaryIO) -> None:
    if not root.parent.parent.is_dir():
        raise Refused("the ring has no run folder here")
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    # not in the root's own folder, where only blocks may be; what a crash leaves goes when a rank starts
    temporary = root.parent / f".carried-{os.getpid()}.tmp"
    try:
        for line in _lines(source):
            order = json.loads(line)
            name, size = _checked(order["name"]), int(order["bytes"])
            _one(temporary, size, str(order["sum"]), source)
            temporary.replace(root / name)
            say({"done": name})
        _sync(root)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _one(path: Path, size: int, expected: str, source: BinaryIO) -> None:
    if not 0 <= size <= _MOST_BYTES:
        raise Refused("the size of a file is none that a block has")
    data = source.read(size)
    if len(data) < size:
        raise Refused("the data broke off")
    if hashlib.sha256(data).hexdigest() != expected:
        raise Refused("a block did not arrive as it was sent")
    with os.fdopen(os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _lines(source: BinaryIO) -> Iterator[str]:
    while True:
        line = source.readline(_LINE)
        if not line.endswith(b"\n"):
            raise Refused("the orders broke off")
        if line == b"\n":
            return
        yield line.decode().rstrip("\n")


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Refused(f"{name!r} is no name of a block's file")
    return name


def _sync(folder: Path) -> None:
    handle = os.open(str(folder), os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    task, folder = arguments[0], Path(arguments[1])
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    try:
        if task == "list":
            say(listing(folder))
            return 0
        if not _ROOT.fullmatch(arguments[2]):
            raise Refused(f"{arguments[2]!r} is no name of a root")
        root = folder / arguments[2]
        if task == "give":
            give(root, source, sink)
        elif task == "same":
            same(root, source)
        else:
            take(root, source)
    except Refused as error:
        say({"ok": False, "cause": str(error), "full": False})
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say({"ok": False, "cause": f"{error.filename or folder}: {error.strerror or error}", "full": full})
    except (ValueError, KeyError, TypeError):
        say({"ok": False, "cause": "what came in is no order about blocks", "full": False})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
