"""The host's end of a push: what of a model lies in a folder, and files that come in on standard input.

This file is sent to hosts as text and run there (``python -c TEXT list|receive FOLDER``) before anything is
installed: standard library only, nothing of this project, Python 3.8. Answers are JSON lines.

``list`` answers once: ``{"ok": true, "free": bytes, "files": {NAME: [bytes, SHA-256]}, "parts": {NAME:
bytes}}``. The sum of a weights file is the one it was received with (`SUM` beside it), of any other file
(they are small) it is computed.

``receive`` reads, again and again, a line ``{"name": ..., "bytes": ..., "from": ...}``, the bytes from there
to the end, and a line with the SHA-256 of the whole file; and answers ``{"done": NAME}``, or ``{"bad":
NAME}`` where the sum is another. A line ``{"forget": [NAME, ...]}`` removes files, without an answer. An
empty line ends it. A file has its name only when all of it is on the disk; until then it is ``NAME.part``,
which a later run goes on with.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

SUM = ".sha256"
PART = ".part"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_BLOCK = 1 << 18  # what is lost at the most when this process is killed
_SMALL = 256 << 20


class Refused(Exception):
    """Why nothing more can be received, in words."""


def listing(folder: Path) -> dict[str, Any]:
    """What is there already. Makes nothing."""
    files: dict[str, list[Any]] = {}
    parts: dict[str, int] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not path.is_file() or path.suffix == SUM:
            continue
        size = path.stat().st_size
        if path.suffix == PART:
            parts[path.name[: -len(PART)]] = size
        else:
            files[path.name] = [size, _sum_of(path, size)]
    place = folder
    while not place.exists():
        place = place.parent
    about = os.statvfs(place)
    return {"ok": True, "free": about.f_bavail * about.f_frsize, "files": files, "parts": parts}


def _sum_of(path: Path, size: int) -> str:
    if path.suffix == ".safetensors":
        noted = path.with_name(path.name + SUM)
        return noted.read_text().strip() if noted.is_file() else ""
    return hashlib.sha256(path.read_bytes()).hexdigest() if size < _SMALL else ""


def receive(folder: Path, source: BinaryIO) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        line = source.readline(4096).strip()
        if not line:
            return
        order = json.loads(line)
        if "forget" in order:
            for name in order["forget"]:
                for path in (folder / _checked(name), folder / (name + SUM), folder / (name + PART)):
                    path.unlink(missing_ok=True)
            continue
        name, size, start = _checked(order["name"]), int(order["bytes"]), int(order["from"])
        say({"done" if _one(folder, name, size, start, source) else "bad": name})


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name) or name.endswith((SUM, PART)):
        raise Refused(f"{name!r} is no name of a model's file")
    return name


def _one(folder: Path, name: str, size: int, start: int, source: BinaryIO) -> bool:
    part = folder / (name + PART)
    # not "wb": what is there of it is kept
    with os.fdopen(os.open(str(part), os.O_RDWR | os.O_CREAT, 0o600), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Refused(f"another console is sending {name} to this host") from None
        digest = hashlib.sha256()
        _digest_beginning(file, start, digest)
        file.truncate(start)
        if not _take(source, file, size - start, digest):
            raise Refused(f"{name} broke off before its end")
        expected = source.readline(200).strip().decode()
        file.flush()
        if digest.hexdigest() != expected:
            part.unlink()
            return False
        os.fsync(file.fileno())
        # one that is replaced goes first: the sum beside a file must never be that of another
        (folder / name).unlink(missing_ok=True)
        (folder / (name + SUM)).write_text(expected + "\n")
        part.rename(folder / name)
    _sync(folder)
    return True


def _take(source: BinaryIO, file: BinaryIO, count: int, digest: Any) -> bool:
    """``count`` bytes into ``file``; summed by a thread, which takes as long as all the rest. False when the
    source ended before."""
    blocks = [memoryview(bytearray(_BLOCK)) for _ in range(4)]
    summing: list[Any] = [None] * len(blocks)
    at = 0
    with ThreadPoolExecutor(1) as pool:
        while count:
            if summing[at] is not None:
                summing[at].result()
            got = source.readinto(blocks[at][: min(count, _BLOCK)])  # type: ignore[attr-defined]
            file.write(blocks[at][:got])
            summing[at] = pool.submit(digest.update, blocks[at][:got])
            count -= got
            if not got:
                file.flush()
                return False
            at = (at + 1) % len(blocks)
    return True


def _digest_beginning(file: BinaryIO, count: int, digest: Any) -> None:
    while count:
        data = file.read(min(count, _BLOCK))
        if not data:
            raise Refused("what had arrived of a file is gone; start again")
        digest.update(data)
        count -= len(data)


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
    try:
        if task == "list":
            say(listing(folder))
        else:
            receive(folder, sys.stdin.buffer)
    except Refused as error:
        say({"ok": False, "cause": str(error), "full": False})
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        say({"ok": False, "cause": f"{error.filename or folder}: {error.strerror or error}", "full": full})
    except (ValueError, KeyError, TypeError):
        say({"ok": False, "cause": "what came in is no order to receive a file", "full": False})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
