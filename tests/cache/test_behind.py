"""Blocks are written behind the work: nobody waits for the disk, and what waits for it takes no memory of its
own. The disk here stands still where a test wants it to."""

import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import pytest
from mlx_lm.models.cache import KVCache

from ringcore.cache import behind as module
from ringcore.cache.behind import Behind
from ringcore.cache.blocks import Block
from ringcore.cache.disk import Disk, Prepared, Tensors
from ringcore.spec.shard import Shard
from tests.ring.harness import until

NAMES = [bytes([number] * 16) for number in range(6)]
SHARD = Shard(0, 1, 1)
SECONDS = 20.0


class SlowDisk(Disk):
    """Syncs when it is let."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, bytes(16), 8, 0)
        self.syncing, self.let = threading.Semaphore(0), threading.Semaphore(0)
        self.error: Exception | None = None

    def prepare(self, name: bytes, start: int, end: int, tensors: Tensors) -> Prepared:
        self.syncing.release()
        assert self.let.acquire(timeout=SECONDS)
        if self.error is not None:
            raise self.error
        return super().prepare(name, start, end, tensors)


def block(number: int) -> Block:
    return ((mx.full((1, 1, 64, 2), number), mx.full((1, 1, 64, 2), -number)),)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SlowDisk]:
    made = SlowDisk(tmp_path)
    yield made
    for _ in range(20):
        made.let.release()


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def behind(disk: SlowDisk, warnings: list[str]) -> Behind:
    return Behind(disk, SHARD, [KVCache()], [0], warnings.append)


def test_while_the_disk_syncs_the_work_goes_on(disk: SlowDisk, behind: Behind) -> None:
    behind.write(NAMES[0], 0, block(1))
    assert disk.syncing.acquire(timeout=SECONDS)
    done = threading.Event()

    def work() -> None:
        behind.write(NAMES[1], 1, block(2))
        assert not behind.has(NAMES[0]) and behind.read(NAMES[0]) is None
        assert behind.figures[:3] == (0, 0, 0)
        done.set()

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(SECONDS), "the work waits for the disk"
    disk.let.release()
    disk.let.release()
    behind.settle()
    found = behind.read(NAMES[1])
    assert found is not None and mx.array_equal(found[0][0], block(2)[0][0])


def test_a_block_that_is_given_up_while_it_waits_is_not_written_and_not_held(
    disk: SlowDisk, behind: Behind
) -> None:
    behind.write(NAMES[0], 0, block(1))
    assert disk.syncing.acquire(timeout=SECONDS)
    forgotten, replaced = block(2), block(3)
    held = [weakref.ref(part[0]) for part in (*forgotten, *replaced)]
    behind.write(NAMES[1], 1, forgotten)
    behind.write(NAMES[2], 2, replaced)
    behind.gone([1])
    behind.write(NAMES[3], 2, block(4))
    del forgotten, replaced
    assert [reference() for reference in held] == [None, None]
    disk.let.release()
    disk.let.release()
    behind.settle()
    assert [behind.has(name) for name in NAMES[:4]] == [True, False, False, True]


def test_what_is_written_while_all_is_cleared_leaves_no_file(
    disk: SlowDisk, behind: Behind, tmp_path: Path
) -> None:
    behind.write(NAMES[0], 0, block(1))
    assert disk.syncing.acquire(timeout=SECONDS)
    behind.write(NAMES[1], 1, block(2))
    behind.clear()
    disk.let.release()
    behind.settle()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not behind.has(NAMES[0])


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("out of memory")])
def test_whatever_ends_the_writing_is_told_once_and_nothing_waits_any_more(
    disk: SlowDisk, behind: Behind, warnings: list[str], error: Exception
) -> None:
    disk.error = error
    behind.write(NAMES[0], 0, block(1))
    behind.write(NAMES[1], 1, block(2))
    disk.let.release()
    behind.settle()
    behind.write(NAMES[2], 2, block(3))
    behind.settle()
    assert len(warnings) == 1 and str(error) in warnings[0]
    assert behind.figures[:3] == (0, 0, 0)


def test_what_nobody_used_for_long_goes_though_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIM_SECONDS", 0.01)
    behind = Behind(Disk(tmp_path, bytes(16), 8, 3600), SHARD, [KVCache()], [0], print)
    behind.write(NAMES[0], 0, block(1))
    behind.write(NAMES[1], 1, block(2))
    behind.settle()
    (old,) = tmp_path.rglob(f"{NAMES[0].hex()}.*")
    os.utime(old, (0, 0))
    until(lambda: not old.exists(), "the old file to go")
    until(lambda: behind.figures[0] == 1, "one block")
    assert behind.has(NAMES[1])


def test_what_is_begun_with_from_memory_is_used_in_files_too_and_the_first_of_a_chain_goes_last(
    tmp_path: Path,
) -> None:
    disk = Disk(tmp_path, bytes(16), 3, 0)
    behind = Behind(disk, SHARD, [KVCache()], [0], lambda text: pytest.fail(text))
    for place in range(3):
        behind.write(NAMES[place], place, block(place))
        behind.settle()
    behind.used([0, 1])
    for place in (3, 4):
        behind.write(NAMES[place], place, block(place))
        behind.settle()
    assert [behind.has(name) for name in NAMES[:5]] == [True, False, False, True, True]


def test_a_place_that_holds_another_block_now_uses_that_one(tmp_path: Path) -> None:
    disk = Disk(tmp_path, bytes(16), 2, 0)
    behind = Behind(disk, SHARD, [KVCache()], [0], lambda text: pytest.fail(text))
    for number in range(2):
        behind.write(NAMES[number], number, block(number))
        behind.settle()
    behind.holds(0, NAMES[1])  # it was read from its file
    behind.gone([1])
    behind.used([0, 1])
    behind.write(NAMES[2], 1, block(2))
    behind.settle()
    assert [behind.has(name) for name in NAMES[:3]] == [False, True, True]
