"""``mlxring chat`` at a terminal, up to the first question; the answers are other tests'."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.whole.seat import Seat

PROFILE = 'name = "r"\nmodel = "/m"\n[[hosts]]\nname = "a"\nssh = "a"\naddress = "127.0.0.1"\n'


@pytest.fixture
def argv(tmp_path: Path) -> list[str]:
    (tmp_path / "r.toml").write_text(PROFILE)
    return [sys.executable, "-m", "console", "chat", str(tmp_path / "r.toml")]


def test_ctrl_c_at_the_prompt_ends_the_conversation_at_once(argv: list[str]) -> None:
    seat = Seat(argv, os.environ)
    seat.types("", after="> ")  # an empty line asks nothing
    seat.presses("\x03", after="> ")
    assert seat.end(within=15) == 130 and "Traceback" not in seat.shown, seat.shown


def test_ctrl_d_at_the_prompt_is_the_end_of_the_conversation(argv: list[str]) -> None:
    seat = Seat(argv, os.environ)
    seat.presses("\x04", after="> ")
    assert seat.end(within=15) == 0, seat.shown


@pytest.mark.parametrize("given", [b"", b" \n"])
def test_without_a_question_nobody_is_asked(argv: list[str], given: bytes) -> None:
    ran = subprocess.run(argv, input=given, capture_output=True, timeout=30)
    assert ran.returncode == 2 and b"there is no question" in ran.stderr
