"""The host's end of the hub: fetches the files of one stage from a repository, and checks them.

This file is sent to hosts as text and run there (``python -c TEXT``) by the interpreter that ranks use, which
has ``huggingface_hub``; nothing of this project. The order comes as one JSON line on standard input:
``{"endpoint", "repository", "revision", "folder", "files": {NAME: [bytes, SHA-256 or ""]}, "index": {...}}``.
``index`` names the tensors of these files only: what the others hold is not looked for. Answers are JSON
lines: ``{"total": bytes}`` of what is missing, ``{"done": bytes}`` while it fetches, at the end ``{"ok":
true, "fetched": bytes}`` or ``{"ok": false, "cause": ...}``.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
SUM = ".sha256"
_SPARE_BYTES = 64 << 20
_TELL_SECONDS = 1.0
_AT_ONCE = 4


class Refused(Exception):
    """Why the files cannot be had, in words; ``full``: the disk has no room."""

    def __init__(self, cause: str, full: bool = False) -> None:
        super().__init__(cause)
        self.full = full


def main() -> int:
    order = json.loads(sys.stdin.readline())
    folder = Path(order["folder"])
    ended = threading.Event()
    telling = threading.Thread(target=_tell, args=(folder, ended), daemon=True)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        missing = {
            name: about for name, about in order["files"].items() if not _is_there(folder, name, about)
        }
        _see_room(folder, missing)
        _say({"total": sum(size for size, _ in missing.values())})
        telling.start()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for each in [pool.submit(_fetch, order, folder, name, about) for name, about in missing.items()]:
                each.result()
        _write(folder / INDEX, json.dumps(order["index"]).encode())
        answer: dict[str, Any] = {"ok": True, "fetched": sum(size for size, _ in missing.values())}
    except Refused as error:
        answer = {"ok": False, "cause": str(error), "full": error.full}
    except OSError as error:
        answer = {"ok": False, "cause": f"{error.filename or folder}: {error.strerror or error}"}
    ended.set()
    _say(answer)
    return 0


def _is_there(folder: Path, name: str, about: list[Any]) -> bool:
    path, noted = folder / name, folder / (name + SUM)
    return path.is_file() and path.stat().st_size == about[0] and noted.is_file()


def _see_room(folder: Path, missing: dict[str, list[Any]]) -> None:
    about = os.statvfs(folder)
    free, need = about.f_bavail * about.f_frsize, sum(size for size, _ in missing.values())
    need -= _bytes_below(folder / ".cache")  # what a run that was broken off has left
    if missing and need + _SPARE_BYTES > free:
        raise Refused(f"{free >> 20} MiB are free, the files of its layers take {need >> 20} MiB", full=True)


def _fetch(order: dict[str, Any], folder: Path, name: str, about: list[Any]) -> None:
    from huggingface_hub import hf_hub_download

    where = {"repo_id": order["repository"], "revision": order["revision"], "endpoint": order["endpoint"]}
    try:
        path = Path(hf_hub_download(filename=name, local_dir=str(folder), **where))
    except Exception as error:  # noqa: BLE001 - a library's, of many kinds; its words are what there is to say
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise Refused(f"{name} cannot be fetched: {said[0][:300]}") from None
    size, expected = about
    found = _sum_of(path)
    if path.stat().st_size != size or (expected and found != expected):
        path.unlink()
        raise Refused(f"{name} is not what the hub says it holds: it has SHA-256 {found}")
    _write(folder / (name + SUM), found.encode() + b"\n")


def _sum_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        os.fsync(file.fileno())
    return digest.hexdigest()


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def _tell(folder: Path, ended: threading.Event) -> None:
    before = _bytes_below(folder)
    while not ended.wait(_TELL_SECONDS):
        try:
            _say({"done": max(0, _bytes_below(folder) - before)})
        except OSError:  # the console is gone, and nobody waits for the rest; the next one goes on from here
            os._exit(1)


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(str(folder)):
        for name in names:
            try:
                total += Path(place, name).stat().st_size
            except OSError:  # it was moved while we looked
                continue
    return total


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer, separators=(",", ":")) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
