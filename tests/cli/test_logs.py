"""``mlxring logs``: which lines are told, and what is told where there are none."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cli import main
from console.ports import Emit
from ringcore.spec.events import LogLine, Recorded
from ringcore.spec.profile import Profile

FILE = """\
name = "pair"
model = "/m"
[[hosts]]
name = "one"
ssh = "one"
address = "10.0.0.1"
[[hosts]]
name = "two"
ssh = "two"
address = "10.0.0.2"
"""


class Journals:
    """An operator whose hosts have left these lines, each ``(rank, text)``."""

    def __init__(self, emit: Emit, lines: list[tuple[int, str]]) -> None:
        self._emit = emit
        self._lines = lines

    async def replay(self) -> bool:
        for seq, (rank, text) in enumerate(self._lines, 1):
            event = LogLine(source="rank", level="INFO", text=text, rank=rank)
            self._emit(Recorded(host=("one", "two")[rank], seq=seq, time=float(seq), event=event))
        return False

    async def follow(self) -> None:
        await self.replay()

    async def close(self) -> None:
        await asyncio.sleep(0)


@pytest.fixture
def logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    path = tmp_path / "pair.toml"
    path.write_text(FILE)

    def run(lines: list[tuple[int, str]], *arguments: str) -> int:
        def operator(profile: Profile, emit: Emit, *_: object, **__: object) -> Journals:
            return Journals(emit, lines)

        monkeypatch.setattr("console.compose.operator_for", operator)
        return main(["logs", str(path), *arguments])

    return run


LINES = [(0, "loaded"), (1, "loaded too\x1b[2J")]


@pytest.mark.parametrize("more", [(), ("--follow",)])
def test_all_lines_are_told_and_move_no_cursor(
    logs: Callable[..., int], more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs(LINES, *more) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 2 and "loaded too" in out and "\x1b" not in out


def test_one_rank_alone_may_be_asked_for(
    logs: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs(LINES, "--rank", "1", "--json") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["event"]["rank"] == 1


@pytest.mark.parametrize("rank", ["2", "-1"])
def test_a_rank_that_the_ring_does_not_have_is_refused(
    logs: Callable[..., int], rank: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs(LINES, f"--rank={rank}") == 2
    assert "pair has ranks 0 to 1" in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--follow",)])
def test_a_ring_that_has_left_no_journal_is_told_as_one_that_does_not_run(
    logs: Callable[..., int], more: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert logs([], *more) == 8
    told = capsys.readouterr()
    assert told.out == "" and "the ring pair does not run" in told.err and "mlxring up" in told.err
