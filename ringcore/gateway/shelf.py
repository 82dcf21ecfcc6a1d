"""Conversations as files in the run folder, so that a gateway that starts again has them.

One file each, 0600 in a folder of 0700, named by a hash: names come from clients. Written in the background,
one after the other, each whole or not at all. Knows nothing of turns or bounds.
"""

import asyncio
import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from ringcore.gateway.messages import Message
from ringcore.spec.events import Level
from ringcore.whole_file import replace_file

_LAST_WRITES_SECONDS = 1.5  # a disk that hangs must not hold up the end of the gateway


class Saved(Struct, frozen=True, kw_only=True):
    """``used`` is in seconds since the Unix epoch, ``tokens`` those of prompt and answer of the last turn."""

    name: str
    messages: tuple[Message, ...]
    tokens: int
    used: float


class Shelf:
    """``say`` hears once of a folder that cannot be written; conversations then end with the process."""

    def __init__(self, folder: Path, say: Callable[[Level, str], None]) -> None:
        self._folder = folder
        self._say = say
        self._failed = False
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="conversations")
        self._pending: set[asyncio.Future[None]] = set()

    def read(self) -> list[Saved]:
        """All that can be read, least recently used first. What a crash left half written is removed."""
        found: list[Saved] = []
        try:
            paths = sorted(self._folder.iterdir())
        except OSError:
            return []
        for path in paths:
            try:
                if path.name.startswith("."):
                    path.unlink()
                elif path.suffix == ".json":
                    found.append(msgspec.json.decode(path.read_bytes(), type=Saved))
            except (OSError, msgspec.MsgspecError, ValueError, RecursionError) as error:
                self._say("WARNING", f"the conversation in {path} is passed over: {error}")
        return sorted(found, key=lambda saved: saved.used)

    def put(self, saved: Saved) -> None:
        self._later(lambda: self._write(saved))

    def drop(self, name: str) -> None:
        self._later(lambda: self._path(name).unlink(missing_ok=True))

    async def close(self) -> None:
        """Waits a moment for what is still to be written."""
        if self._pending:
            await asyncio.wait(tuple(self._pending), timeout=_LAST_WRITES_SECONDS)
        self._writer.shutdown(wait=False, cancel_futures=True)

    def _later(self, work: Callable[[], None]) -> None:
        future = asyncio.get_running_loop().run_in_executor(self._writer, work)
        self._pending.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: "asyncio.Future[None]") -> None:
        self._pending.discard(future)
        if future.cancelled() or (error := future.exception()) is None or self._failed:
            return
        self._failed = True
        self._say("WARNING", f"conversations are not kept in {self._folder.absolute()}: {error}")

    def _write(self, saved: Saved) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        replace_file(self._path(saved.name), msgspec.json.encode(saved))

    def _path(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()[:40]}.json"
