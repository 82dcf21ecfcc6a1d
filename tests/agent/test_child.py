"""A child's end is seen when it ends, whoever else still holds what it printed to."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from ringcore.agent.child import Child
from ringcore.spec.events import Level

LEAVES_A_GRANDCHILD = """
import subprocess, sys
print(subprocess.Popen(["sleep", "60"]).pid)
sys.exit(3)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where ``python -m ringcore`` finds this program instead of ours."""
    package = tmp_path / "ringcore"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(LEAVES_A_GRANDCHILD)
    return tmp_path


async def test_a_grandchild_that_holds_the_pipe_does_not_hide_the_end(folder: Path) -> None:
    said: list[str] = []

    def say(_level: Level, text: str) -> None:
        said.append(text)

    child = await Child.start("rank", [], folder, folder / "rank.log", lambda _message: None, say)
    try:
        assert await asyncio.wait_for(child.ended, 20) == 3
        assert not child.running
    finally:
        os.kill(int(said[0]), signal.SIGKILL)
    assert said[0] in (folder / "rank.log").read_text()
