"""Writes blocks to disk behind the work, in a thread of its own, and reads them back into a stage's caches.

Knows how a block becomes tensors of a file: each of its arrays under the number of its layer. Nobody waits
for the disk: what finds the queue full is left out.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError

from ringcore.cache import kinds
from ringcore.cache.blocks import Block
from ringcore.cache.disk import Disk, Tensors
from ringcore.spec.shard import Shard

MOST_WAITING = 512  # blocks, which stay in memory until they are written
_BRAIN = "bfloat16"  # NumPy has no such numbers: their bits are stored


class Behind:
    """``layers``: of each entry of ``prototype``, an empty cache of the stage. ``warn`` is called from the
    thread, once, when writing is given up."""

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
        self._keys = _keys(prototype, layers)
        self._warn = warn
        self._lock = threading.Lock()  # around all use of the disk
        self._queue: queue.Queue[tuple[int, bytes, list[tuple[str, mx.array]]]] = queue.Queue(MOST_WAITING)
        self._off = False
        self._cleared = 0
        self.left_out = 0
        threading.Thread(target=self._write_all, name="blocks to disk", daemon=True).start()

    def has(self, name: bytes) -> bool:
        """Whether `read` may find the block."""
        with self._lock:
            return self._disk.has(name, self._shard.start, self._shard.end)

    @property
    def figures(self) -> tuple[int, int, int]:
        """Blocks and bytes on disk, and damaged files that were removed."""
        with self._lock:
            return len(self._disk), self._disk.nbytes, self._disk.damaged

    def write(self, name: bytes, block: Block) -> None:
        """As soon as can be; returns at once."""
        if self._off or self.has(name):
            return
        named = [
            (f"{key}.{number}", array)
            for key, part in zip(self._keys, block, strict=True)
            for number, array in enumerate(part)
        ]
        raw = [
            (f"{key}.{_BRAIN}", array.view(mx.uint16)) if array.dtype == mx.bfloat16 else (key, array)
            for key, array in named
        ]
        mx.async_eval([array for _, array in raw])
        try:
            self._queue.put_nowait((self._cleared, name, raw))
        except queue.Full:
            self.left_out += 1

    def read(self, name: bytes) -> Block | None:
        """None when files lack a layer of this stage, or were damaged."""
        with self._lock:
            tensors = self._disk.read(name, self._shard.start, self._shard.end)
        if tensors is None:
            return None
        return tuple(_part(tensors, key) for key in self._keys)

    def clear(self) -> None:
        """Remove every block, those on their way too."""
        with self._lock:
            self._cleared += 1
            self._disk.clear()

    def settle(self) -> None:
        """Wait until everything that was queued is written."""
        self._queue.join()

    def _write_all(self) -> None:
        while True:
            cleared, name, raw = self._queue.get()
            try:
                if not self._off:
                    tensors = {key: np.array(array) for key, array in raw}
                    with self._lock:
                        if cleared == self._cleared:
                            self._disk.write(name, self._shard.start, self._shard.end, tensors)
            except (OSError, SafetensorError) as error:
                self._off = True
                self._warn(f"beginnings of prompts are no longer written to disk: {error}")
            finally:
                self._queue.task_done()


def _keys(prototype: Sequence[Any], layers: Sequence[int]) -> list[str]:
    """``layer.leaf`` for each leaf of a stage's cache; leaves of a layer are counted from 0."""
    keys: list[str] = []
    counts: dict[int, int] = {}
    for entry, layer in zip(prototype, layers, strict=True):
        for _ in kinds.leaves([entry]):
            keys.append(f"{layer}.{counts.get(layer, 0)}")
            counts[layer] = counts.get(layer, 0) + 1
    return keys


def _part(tensors: Tensors, key: str) -> tuple[mx.array, ...]:
    found: list[mx.array] = []
    while True:
        name = f"{key}.{len(found)}"
        if name in tensors:
            found.append(_array(tensors[name]))
        elif f"{name}.{_BRAIN}" in tensors:
            found.append(_array(tensors[f"{name}.{_BRAIN}"]).view(mx.bfloat16))
        else:
            return tuple(found)


def _array(tensor: NDArray[Any]) -> mx.array:
    return mx.array(tensor)
