"""Writes blocks to disk behind the work, in a thread of its own, and reads them back into a stage's caches.

Nobody waits for the disk: what is given up before it was written is left out. How a block becomes tensors of
a file is `tensors`' business.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np

from ringcore.cache import tensors
from ringcore.cache.blocks import Block
from ringcore.cache.disk import Disk, Figures
from ringcore.spec.shard import Shard

TRIM_SECONDS = 60.0
_Waiting = tuple[bytes, list[tuple[str, mx.array]]]  # the block's name, and its tensors by theirs


class Behind:
    """``layers``: of each entry of ``prototype``, an empty cache of the stage. ``warn`` is called from the
    thread, once, when writing is given up.

    A block waits under its place, and only while it is held there: so what waits takes no memory beyond that
    of the blocks."""

    def __init__(
        self,
        disk: Disk,
        shard: Shard,
        prototype: Sequence[Any],
        layers: Sequence[int],
        warn: Callable[[str], None],
    ) -> None:
        self._disk = disk
        self._shard = shard
        self._keys = tensors.keys(prototype, layers)
        self._warn = warn
        self._changed = threading.Condition()  # around what waits and all use of the disk but the slow part
        self._waiting: dict[int, _Waiting] = {}  # by place, in order
        self._names: dict[int, bytes] = {}  # of blocks that are held in memory, by place
        self._busy = False
        self._off = False
        self._cleared = 0
        threading.Thread(target=self._write_all, name="blocks to disk", daemon=True).start()

    def has(self, name: bytes) -> bool:
        """Whether `read` may find the block."""
        with self._changed:
            return self._disk.has(name, self._shard.start, self._shard.end)

    @property
    def figures(self) -> Figures:
        with self._changed:
            return self._disk.figures

    def write(self, name: bytes, place: int, block: Block) -> None:
        """As soon as can be; returns at once. ``place`` holds the block until `gone`."""
        self.holds(place, name)
        if self._off or self.has(name):
            return
        raw = tensors.named(self._keys, block)
        mx.async_eval([array for _, array in raw])
        with self._changed:
            self._waiting[place] = (name, raw)
            self._changed.notify_all()

    def holds(self, place: int, name: bytes) -> None:
        """A block is in ``place`` now, and what was there before is not."""
        self.gone([place])
        with self._changed:
            self._names[place] = name

    def used(self, places: Sequence[int]) -> None:
        """A sequence begins with the blocks in ``places``: in files they count as used, too, the first of
        them last, since nothing is found behind a block that is gone."""
        with self._changed:
            for place in reversed(places):
                if place in self._names:
                    self._disk.use(self._names[place])

    def gone(self, places: Iterable[int]) -> None:
        """The blocks in ``places`` are held no more: what was not written yet will not be."""
        with self._changed:
            for place in places:
                self._waiting.pop(place, None)
                self._names.pop(place, None)

    def read(self, name: bytes) -> Block | None:
        """None when files lack a layer of this stage, or were damaged."""
        with self._changed:
            found = self._disk.read(name, self._shard.start, self._shard.end)
        return None if found is None else tensors.parts(self._keys, found)

    def clear(self) -> None:
        """Remove every block, those on their way too."""
        with self._changed:
            self._cleared += 1
            self._waiting.clear()
            self._disk.clear()

    def settle(self, seconds: float = 60.0) -> None:
        """Wait until everything that waits is written. Raises ``TimeoutError``."""
        with self._changed:
            if not self._changed.wait_for(lambda: not (self._waiting or self._busy), seconds):
                raise TimeoutError(f"{len(self._waiting)} blocks were not written in {seconds} s")

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._changed.wait_for(lambda: bool(self._waiting), TRIM_SECONDS):
                    self._disk.trim()  # what nobody uses any more grows old, written or not
                    continue
                waiting, cleared = self._waiting.pop(next(iter(self._waiting))), self._cleared
                self._busy = True
            try:
                self._write(*waiting, cleared)
            except Exception as error:  # noqa: BLE001 - the edge of the thread: the ring goes on without it
                with self._changed:
                    self._off = True
                    self._waiting.clear()
                self._warn(f"beginnings of prompts are no longer written to disk: {error}")
            del waiting  # or it would hold the block until the next one comes

    def _write(self, name: bytes, raw: list[tuple[str, mx.array]], cleared: int) -> None:
        content = {key: np.array(array) for key, array in raw}
        # Nobody who holds the lock waits for the disk to sync.
        prepared = self._disk.prepare(name, self._shard.start, self._shard.end, content)
        with self._changed:
            if cleared == self._cleared:
                self._disk.keep(prepared)
            else:
                self._disk.discard(prepared)
