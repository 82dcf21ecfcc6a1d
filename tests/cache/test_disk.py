"""Blocks in files: found again by name and layers, never when damaged, never more than allowed."""

import os
from pathlib import Path

import numpy as np
import pytest

from ringcore.cache.disk import Disk, Tensors

ROOT, OTHER = bytes(range(16)), bytes(16)
NAMES = [bytes([number] * 16) for number in range(6)]


def tensors(start: int, end: int, seed: int = 0) -> Tensors:
    random = np.random.default_rng(seed)
    return {f"{n}.0.{i}": random.random((1, 2, 64, 4), np.float32) for n in range(start, end) for i in (0, 1)}


def same(found: Tensors | None, expected: Tensors) -> bool:
    return (
        found is not None
        and found.keys() == expected.keys()
        and all(np.array_equal(found[key], expected[key]) for key in expected)
    )


def opened(folder: Path, blocks: int = 10, root: bytes = ROOT, ttl: float = 0) -> Disk:
    return Disk(folder, root, blocks, ttl)


def files(folder: Path) -> list[Path]:
    return sorted((folder / ROOT.hex()).iterdir())


def test_what_was_written_is_read_again_after_a_restart(tmp_path: Path) -> None:
    opened(tmp_path).write(NAMES[0], 0, 3, tensors(0, 3))
    again = opened(tmp_path)
    assert same(again.read(NAMES[0], 0, 3), tensors(0, 3))
    assert again.read(NAMES[1], 0, 3) is None
    assert (len(again), again.nbytes) == (1, files(tmp_path)[0].stat().st_size)
    assert files(tmp_path)[0].stat().st_mode & 0o77 == 0


def test_other_layers_are_taken_from_the_files_that_have_them(tmp_path: Path) -> None:
    disk, whole = opened(tmp_path), tensors(0, 5)
    for start, end in ((0, 2), (2, 5)):
        part = {key: array for key, array in whole.items() if start <= int(key[0]) < end}
        disk.write(NAMES[0], start, end, part)
    for start, end in ((0, 5), (1, 3), (4, 5)):
        wanted = {key: array for key, array in whole.items() if start <= int(key[0]) < end}
        assert same(disk.read(NAMES[0], start, end), wanted)
    assert not disk.has(NAMES[0], 0, 6)
    assert disk.read(NAMES[0], 3, 6) is None


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "text", "other block", "other root"])
def test_a_damaged_file_is_removed_and_never_served(tmp_path: Path, harm: str) -> None:
    disk = opened(tmp_path)
    disk.write(NAMES[0], 0, 3, tensors(0, 3))
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[-100] ^= 4
    elif harm == "other block":
        content = content.replace(NAMES[0].hex().encode(), NAMES[1].hex().encode())
    elif harm == "other root":
        content = content.replace(ROOT.hex().encode(), OTHER.hex().encode())
    path.write_bytes({"cut": content[:-7], "empty": b"", "text": b"hello"}.get(harm, bytes(content)))
    again = opened(tmp_path)
    assert again.has(NAMES[0], 0, 3)
    assert again.read(NAMES[0], 0, 3) is None
    assert not again.has(NAMES[0], 0, 3)
    assert (again.damaged, files(tmp_path), again.nbytes) == (1, [], 0)


def test_what_is_foreign_is_removed_and_counted_what_was_never_finished_just_removed(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.write(NAMES[0], 0, 1, tensors(0, 1))
    (tmp_path / ROOT.hex() / "notes.txt").write_text("x")
    (tmp_path / ROOT.hex() / f"{NAMES[1].hex()}.0-1.7.tmp").write_text("x")
    again = opened(tmp_path)
    assert (again.damaged, len(files(tmp_path)), len(again)) == (1, 1, 1)
    assert len(list((tmp_path / ROOT.hex()).iterdir())) == 1


def test_blocks_of_another_model_are_not_kept(tmp_path: Path) -> None:
    opened(tmp_path).write(NAMES[0], 0, 1, tensors(0, 1))
    assert len(opened(tmp_path, root=OTHER)) == 0
    assert [path.name for path in tmp_path.iterdir()] == [OTHER.hex()]


def test_the_least_recently_used_make_room(tmp_path: Path) -> None:
    disk = opened(tmp_path, blocks=3)
    for number in range(3):
        disk.write(NAMES[number], 0, 1, tensors(0, 1, number))
    disk.read(NAMES[0], 0, 1)
    disk.write(NAMES[3], 0, 1, tensors(0, 1))
    assert [disk.has(NAMES[number], 0, 1) for number in range(4)] == [True, False, True, True]
    assert len(files(tmp_path)) == 3
    assert len(opened(tmp_path, blocks=2)) == 2


def test_what_nobody_used_for_long_goes(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    for number in range(2):
        disk.write(NAMES[number], 0, 1, tensors(0, 1))
    os.utime(next(path for path in files(tmp_path) if path.name.startswith(NAMES[0].hex())), (1, 1))
    again = opened(tmp_path, ttl=3600)
    assert [again.has(NAMES[number], 0, 1) for number in range(2)] == [False, True]


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    (tmp_path / ROOT.hex()).rmdir()
    with pytest.raises(OSError):
        disk.write(NAMES[0], 0, 1, tensors(0, 1))
    assert (len(disk), disk.nbytes) == (0, 0)


def test_cleared_is_empty(tmp_path: Path) -> None:
    disk = opened(tmp_path)
    disk.write(NAMES[0], 0, 1, tensors(0, 1))
    disk.clear()
    assert (files(tmp_path), disk.nbytes) == ([], 0)


def test_a_file_that_is_gone_or_cannot_be_touched_is_nobodys_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, whole = opened(tmp_path), tensors(0, 4)
    for start, end in ((0, 2), (2, 4)):
        disk.write(NAMES[0], start, end, {k: a for k, a in whole.items() if start <= int(k[0]) < end})
    (gone,) = (tmp_path / ROOT.hex()).glob("*.2-4.*")
    gone.unlink()
    assert same(disk.read(NAMES[0], 0, 2), {key: array for key, array in whole.items() if key[0] in "01"})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    assert disk.read(NAMES[0], 0, 2) is not None
    assert disk.read(NAMES[0], 2, 4) is None
    disk.clear()
    assert len(disk) == 0


def brought(folder: Path, name: bytes, start: int, end: int) -> Path:
    """A file that another host wrote is put in place here, as an agent does it."""
    other = opened(folder / "other")
    other.write(name, start, end, tensors(start, end))
    (path,) = files(folder / "other")
    return path.rename(folder / ROOT.hex() / path.name)


def test_what_an_agent_put_in_place_meanwhile_is_read_and_counted(tmp_path: Path) -> None:
    disk = opened(tmp_path / "own")
    disk.write(NAMES[0], 0, 2, tensors(0, 2))
    assert disk.read(NAMES[0], 0, 3) is None
    brought(tmp_path / "own", NAMES[0], 2, 4)
    assert same(disk.read(NAMES[0], 0, 3), {**tensors(0, 2), **tensors(2, 3)})
    assert disk.figures.brought == 1 and disk.figures.brought_bytes > 0
    assert disk.nbytes == sum(path.stat().st_size for path in files(tmp_path / "own"))
    assert disk.read(NAMES[0], 0, 3) is not None and disk.figures.brought == 1


def test_what_came_damaged_is_removed_and_not_served(tmp_path: Path) -> None:
    disk = opened(tmp_path / "own")
    path = brought(tmp_path / "own", NAMES[0], 0, 3)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert disk.read(NAMES[0], 0, 3) is None
    assert (disk.damaged, len(disk), files(tmp_path / "own")) == (1, 0, [])


def test_what_came_and_was_never_asked_for_goes_too_when_all_goes(tmp_path: Path) -> None:
    disk = opened(tmp_path / "own")
    brought(tmp_path / "own", NAMES[0], 0, 3)
    disk.clear()
    assert files(tmp_path / "own") == []


def test_what_came_counts_among_the_blocks_that_there_may_be(tmp_path: Path) -> None:
    disk = opened(tmp_path / "own", blocks=2)
    for name in NAMES[:2]:
        disk.write(name, 0, 3, tensors(0, 3))
    brought(tmp_path / "own", NAMES[2], 0, 3)
    assert disk.read(NAMES[2], 0, 3) is not None
    assert len(disk) == 2 and not disk.has(NAMES[0], 0, 3)
