"""A ring that starts when its hosts boot: the texts for systemd and launchd, and putting them there."""

import plistlib
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest

from console.cluster.boot import not_at_boot, start_at_boot
from console.cluster.boot_units import MARK, launchd_plist, systemd_unit
from console.cluster.facts import gather_facts
from console.cluster.ssh import SshHost
from ringcore.spec.errors import ProvisionError
from ringcore.spec.facts import HostFacts
from tests.cluster.reach import plain_environment, reached

ODD = 'it\'s 100% "odd" \\ $HOME $(touch x)'


def launcher(folder: Path, script: str) -> Path:
    """A run folder whose launcher is ``script``."""
    folder.mkdir(parents=True)
    (folder / "ringcore").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "ringcore").chmod(0o755)
    return folder


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed here")
def test_systemd_takes_the_unit_wherever_the_run_folder_lies(tmp_path: Path) -> None:
    for number, name in enumerate(("plain", ODD)):
        run = launcher(tmp_path / name / "runs" / "t", "exit 0")
        unit = tmp_path / f"mlxring-t{number}.service"
        unit.write_text(systemd_unit("t", str(run)))
        done = subprocess.run(
            ["systemd-analyze", "verify", "--user", "--man=no", "--recursive-errors=no", str(unit)],
            capture_output=True, text=True, timeout=30,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("script", "status"), [("exit 0", 0), ("exit 6", 6), ("kill -KILL $$", 0)])
def test_launchd_is_told_how_the_ring_ended(tmp_path: Path, script: str, status: int) -> None:
    run = launcher(tmp_path / ODD / "t", f'printf "%s|" "$@" > "{tmp_path}/said"; {script}')
    text = launchd_plist("t", str(run))
    assert MARK.encode() in text
    agent = plistlib.loads(text)
    assert agent["KeepAlive"] == {"SuccessfulExit": False} and agent["RunAtLoad"] is True
    assert subprocess.run(agent["ProgramArguments"], cwd=tmp_path, timeout=10).returncode == status
    assert (tmp_path / "said").read_text() == f"agent|--run|{run}|--stay|"
    assert not (tmp_path / "x").exists()


async def mac(host: SshHost) -> HostFacts:
    return msgspec.structs.replace(await gather_facts(host), os="darwin")


async def test_a_mac_gets_a_launch_agent_and_loses_it_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "launchctl").write_text('#!/bin/sh\necho "$*" >> "$HOME/asked"\n')
    (home / "bin" / "launchctl").chmod(0o755)
    env = plain_environment(home)
    async with reached(home, env=env | {"PATH": f"{home}/bin:{env['PATH']}"}) as host:
        await start_at_boot(host, await mac(host), "t", f"{home}/runs/t")
        plist = home / "Library" / "LaunchAgents" / "mlxring.t.plist"
        assert plistlib.loads(plist.read_bytes())["Label"] == "mlxring.t"
        await start_at_boot(host, await mac(host), "t", f"{home}/runs/u")  # deployed anew, elsewhere
        assert f"{home}/runs/u".encode() in plist.read_bytes()
        await not_at_boot(host, "another")
        assert plist.exists()
        await not_at_boot(host, "t")
        assert not plist.exists()
        await not_at_boot(host, "t")
    assert [line.split()[0] for line in (home / "asked").read_text().splitlines()] == [
        "enable", "enable", "bootout"
    ]  # fmt: skip


async def test_a_file_of_somebody_else_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    home = tmp_path / "home"
    plist = home / "Library" / "LaunchAgents" / "mlxring.t.plist"
    plist.parent.mkdir(parents=True)
    plist.write_text("mine")
    async with reached(home) as host:
        with pytest.raises(ProvisionError, match="is there already and is not ours"):
            await start_at_boot(host, await mac(host), "t", f"{home}/runs/t")
        await not_at_boot(host, "t")
    assert plist.read_text() == "mine"
