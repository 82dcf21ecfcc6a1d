"""The host's program that lists, gives and takes blocks: no name, size or sum is taken on trust."""

import hashlib
import json
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

PROGRAM = resources.files("ringcore.cache").joinpath("carry.py").read_text()
ROOT = "ab" * 16
NAME = f"{'01' * 16}.0-3.safetensors"


def ran(folder: Path, task: str, *orders: bytes, root: str = ROOT) -> list[Any]:
    """Its answers, to the end of its input."""
    argv = [sys.executable, "-I", "-B", "-c", PROGRAM, task, str(folder), root]
    done = subprocess.run(argv, input=b"".join(orders), capture_output=True, timeout=20)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def order(data: bytes, **changes: object) -> bytes:
    said = {"name": NAME, "bytes": len(data), "sum": hashlib.sha256(data).hexdigest()} | changes
    return json.dumps(said).encode() + b"\n" + data


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    run = tmp_path / "runs" / "t"
    run.mkdir(parents=True)
    return run / "prefix"


def everything(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_what_is_taken_is_given_again_and_is_its_owners_alone(folder: Path) -> None:
    assert ran(folder, "take", order(b"abc"), b"\n") == [{"done": NAME}]
    path = folder / ROOT / NAME
    assert path.read_bytes() == b"abc" and path.stat().st_mode & 0o77 == 0
    (listed,) = ran(folder, "list")
    assert [file[:2] for file in listed["roots"][ROOT]] == [[NAME, 3]] and listed["free"] > 0
    argv = [sys.executable, "-I", "-B", "-c", PROGRAM, "give", str(folder), ROOT]
    other = NAME.replace("0-3", "3-5")
    given = subprocess.run(argv, input=f"{NAME}\n{other}\n\n".encode(), capture_output=True, timeout=20)
    head, _, rest = given.stdout.partition(b"\n")
    assert json.loads(head) == {"name": NAME, "bytes": 3}
    assert rest[:3] == b"abc" and json.loads(rest[3:]) == {"name": other, "gone": True}


@pytest.mark.parametrize(
    ("orders", "said"),
    [
        (order(b"abc", name="../../x"), "no name of a block's file"),
        (order(b"abc", name=f"../{NAME}"), "no name of a block's file"),
        (order(b"abc", name=NAME + "\n"), "no name of a block's file"),
        (order(b"abc", sum="0" * 64), "did not arrive as it was sent"),
        (order(b"abc", bytes=4), "broke off"),
        (order(b"abc", bytes=-1), "none that a block has"),
        (order(b"abc", bytes=1 << 40), "none that a block has"),
        (b"{}\n", "no order about blocks"),
        (b"[1]\n", "no order about blocks"),
        (b"x" * 5000, "broke off"),
        (b"", "broke off"),
    ],
)
def test_what_is_not_as_it_was_announced_leaves_nothing(folder: Path, orders: bytes, said: str) -> None:
    (answer,) = ran(folder, "take", orders)
    assert not answer["ok"] and said in answer["cause"]
    assert everything(folder) == []


def test_a_file_of_which_the_end_never_comes_does_not_replace_one_that_is_there(folder: Path) -> None:
    ran(folder, "take", order(b"abc"), b"\n")
    (answer,) = ran(folder, "take", order(b"new", bytes=10))
    assert not answer["ok"]
    assert everything(folder) == [f"{ROOT}/{NAME}"] and (folder / ROOT / NAME).read_bytes() == b"abc"


def test_only_the_same_bytes_count_as_there(folder: Path) -> None:
    ran(folder, "take", order(b"abc"), b"\n")
    sums = [hashlib.sha256(data).hexdigest() for data in (b"abc", b"abd")]
    asked = "".join(f"{each} {NAME}\n" for each in sums)
    answers = ran(folder, "same", f"{asked}{sums[0]} {NAME.replace('0-3', '3-5')}\n\n".encode())
    assert [answer["same"] for answer in answers] == [True, False, False]


def test_links_are_not_followed_and_what_is_no_block_is_not_listed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    (folder / ROOT).mkdir(parents=True)
    (folder / ROOT / NAME).symlink_to(tmp_path / "secret")
    (folder / ROOT / "notes.txt").touch()
    (folder / ("cd" * 16)).symlink_to(tmp_path)
    (listed,) = ran(folder, "list")
    assert listed["roots"] == {ROOT: []}
    (answer,) = ran(folder, "give", f"{NAME}\n\n".encode())
    assert not answer["ok"] and "mine" not in str(answer)


def test_without_a_run_folder_or_with_a_strange_root_nothing_is_made(folder: Path) -> None:
    (answer,) = ran(folder, "take", order(b"abc"), b"\n", root="../../x")
    assert "no name of a root" in answer["cause"] and not folder.exists()
    folder.parent.rmdir()
    (answer,) = ran(folder, "take", order(b"abc"), b"\n")
    assert "no run folder" in answer["cause"] and not folder.parent.exists()


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    folder.write_text("a file")
    (answer,) = ran(folder, "take", order(b"abc"), b"\n")
    assert not answer["ok"] and str(folder) in answer["cause"] and not answer["full"]
