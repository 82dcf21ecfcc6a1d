"""Text reaches the operator's clipboard, also on a Mac whose terminal does not help."""

import sys
from pathlib import Path

import pytest

from console.screen import clipboard
from tests.screen import fake
from tests.screen.driver import opened


def pbcopy(folder: Path, script: str) -> None:
    path = folder / "pbcopy"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def mac(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A Mac as far as `clipboard.copy` can tell; its ``pbcopy`` is looked for in the folder."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


async def test_a_mac_gets_the_text_through_pbcopy_too(mac: Path) -> None:
    pbcopy(mac, f"cat > {mac}/board")
    async with opened(fake.serving()) as it:
        await clipboard.copy(it.app, "ein Töpfchen\n")
        assert (mac / "board").read_text() == it.app.clipboard == "ein Töpfchen\n"


async def test_over_ssh_the_other_machines_clipboard_is_left_alone(
    mac: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_CONNECTION", "192.168.5.9 1 192.168.5.1 22")
    pbcopy(mac, f"cat > {mac}/board")
    async with opened(fake.serving()) as it:
        await clipboard.copy(it.app, "x")
        assert it.app.clipboard == "x" and not (mac / "board").exists()


@pytest.mark.parametrize("script", [None, "exit 3", "exec sleep 60"], ids=["missing", "fails", "hangs"])
async def test_copying_never_fails_and_never_hangs(
    mac: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    monkeypatch.setattr(clipboard, "PBCOPY_SECONDS", 0.2)
    if script:
        pbcopy(mac, script)
    async with opened(fake.serving()) as it:
        await clipboard.copy(it.app, "x" * 200_000)
        assert it.app.clipboard == "x" * 200_000
