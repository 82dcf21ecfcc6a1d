"""The command line asks at a terminal what a login needs, and says what to run where there is none."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncssh
import pytest

from tests.cluster.reach import served
from tests.whole.seat import Seat


@dataclass
class Desk:
    """An operator's account and a profile of one host, whose key nobody knows yet."""

    home: Path
    profile: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "HOME": str(self.home), "TERM": "xterm-256color"}

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "console", "check", str(self.profile), *arguments]

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Without a terminal."""
        return subprocess.run(
            self.argv(*arguments), env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """The operator's key has a passphrase."""
    server = served(tmp_path / "host")
    target = await server.start()
    assert target.client_key is not None
    ssh = tmp_path / "operator" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    key = asyncssh.import_private_key(target.client_key)
    locked = key.export_private_key("openssh", passphrase="a phrase", rounds=1, ignore_few_rounds=True)
    (ssh / "id_ed25519").write_bytes(locked)
    profile = tmp_path / "ring.toml"
    profile.write_text(
        f'name = "t"\nmodel = "/m"\n[[hosts]]\nname = "h1"\nssh = "operator@127.0.0.1:{target.port}"\n'
        f'address = "127.0.0.1"\npython = "{sys.executable}"\n'
    )
    yield Desk(tmp_path / "operator", profile)
    await server.close()


T = TypeVar("T")


async def in_a_thread(act: Callable[..., T], *arguments: str) -> T:
    """The host's server runs in this loop meanwhile."""
    return await asyncio.to_thread(act, *arguments)


async def test_at_a_terminal_the_host_key_and_the_passphrase_are_asked_for(desk: Desk) -> None:
    def sit_down() -> tuple[int, str]:
        seat = Seat(desk.argv(), desk.environment)
        seat.types("yes", "[yes/no]")
        seat.types("a phrase", "Passphrase of")
        return seat.end(), seat.shown

    code, shown = await in_a_thread(sit_down)
    assert code == 0, shown
    assert "a phrase" not in shown and "Traceback" not in shown
    assert "127.0.0.1" in (desk.home / ".ssh" / "known_hosts").read_text()
    actions = (desk.home / ".local/state/mlxring/audit.log").read_text()
    assert "a phrase" not in actions
    assert json.loads(actions.splitlines()[0])["host"] == "h1"


async def test_ctrl_c_at_a_question_ends_the_command(desk: Desk) -> None:
    def sit_down() -> tuple[int, str]:
        seat = Seat(desk.argv(), desk.environment)
        seat.types("\x03", "[yes/no]")
        return seat.end(), seat.shown

    code, shown = await in_a_thread(sit_down)
    assert code == 130 and "Traceback" not in shown, shown
    assert not (desk.home / ".ssh" / "known_hosts").exists()


async def test_without_a_terminal_the_command_says_what_to_run(desk: Desk) -> None:
    refused = await in_a_thread(desk.run)
    assert refused.returncode == 3
    assert "is unknown" in refused.stdout and "--accept-new-host-keys" in refused.stdout
    accepted = await in_a_thread(desk.run, "--accept-new-host-keys")
    assert accepted.returncode == 3
    assert "was not unlocked" in accepted.stdout and "ssh-add" in accepted.stdout
    assert "127.0.0.1" in (desk.home / ".ssh" / "known_hosts").read_text()
