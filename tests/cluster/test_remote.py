"""What is run on a prepared host: the launcher, and the removal of our folder and of nothing else."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from console.cluster.remote import LAUNCHER, NOT_DEPLOYED, NOT_OURS, launch, launcher_script, purge
from console.cluster.ssh import SshHost
from console.cluster.stop import purge_home, reap
from ringcore.spec.deployment import MARKER
from ringcore.spec.errors import ProvisionError, RingError
from tests.cluster.reach import options, reached


def started(*argv: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(argv)


WITHOUT_CODE = f'#!/bin/sh\nexec {sys.executable} -I -S -m ringcore "$@"\n'.encode()
HOMES = ["", "~/.mlxring", "~/it's a $(touch x) place"]


def folder(home: Path, named: str) -> Path:
    return home / (named.removeprefix("~/") or ".mlxring")


def deploy(run: Path, script: bytes) -> None:
    run.mkdir(parents=True)
    (run / LAUNCHER).write_bytes(script)
    (run / LAUNCHER).chmod(0o700)


@pytest.mark.parametrize("named", HOMES)
async def test_a_deployed_ring_is_launched_from_the_profiles_home(tmp_path: Path, named: str) -> None:
    home = tmp_path / "home"
    run = folder(home, named) / "runs" / "minis"
    deploy(run, b'#!/bin/sh\nfor word in "$@"; do echo "<$word>"; done\n')
    async with reached(home) as host:
        result = await host.run(launch(named, "minis", "attach", "--after", "a b"))
    assert result.stdout == f"<attach>\n<--run>\n<{run}>\n<--after>\n<a b>\n"
    assert not (home / "x").exists()


async def test_a_ring_that_was_never_deployed_has_its_own_status(host: SshHost) -> None:
    assert (await host.run(launch("", "minis", "attach"))).status == NOT_DEPLOYED
    await reap(host, "minis")  # nothing to end is no failure


async def test_a_launcher_runs_the_code_it_was_made_for(tmp_path: Path) -> None:
    home = tmp_path / "home"
    code = home / "it's code"
    (code / "ringcore").mkdir(parents=True)
    (code / "ringcore" / "__init__.py").touch()
    (code / "ringcore" / "__main__.py").write_text("import sys; print(__file__, sys.argv[1:])")
    deploy(home / ".mlxring" / "runs" / "r", launcher_script(sys.executable, str(code)))
    (home / "ringcore").mkdir()  # what lies in the folder where a login starts is not ours
    (home / "ringcore" / "__init__.py").write_text("print('another')")
    async with reached(home) as host:
        result = await host.run(launch("", "r", "agent"))
    run = f"{home}/.mlxring/runs/r"
    assert result.stdout == f"{code}/ringcore/__main__.py ['agent', '--run', '{run}']\n", result.stderr
    assert not list(code.rglob("__pycache__"))


async def test_a_reap_that_fails_is_told_with_its_words(tmp_path: Path) -> None:
    home = tmp_path / "home"
    deploy(home / ".mlxring" / "runs" / "r", b"#!/bin/sh\necho 'it will not die' >&2; exit 1\n")
    async with reached(home) as host:
        with pytest.raises(RingError, match="it will not die") as caught:
            await reap(host, "r")
    assert caught.value.failure.host == "h1"


@pytest.mark.parametrize("script", [b"#!/no/python\n", WITHOUT_CODE])
async def test_a_ring_is_ended_although_what_it_was_started_from_is_gone(
    tmp_path: Path, script: bytes
) -> None:
    home = tmp_path / "home"
    run = home / ".mlxring" / "runs" / "r"
    deploy(run, script)
    waits = "import signal, sys, time; signal.signal(15, eval(sys.argv[-1])); time.sleep(60)"
    agent = started(sys.executable, "-c", waits, "-m ringcore agent --run .", "lambda *_: sys.exit(0)")
    rank = started(sys.executable, "-c", waits, "-m ringcore rank --run .", "signal.SIG_IGN")
    other = started(sys.executable, "-c", waits, "somebody else's", "lambda *_: sys.exit(0)")
    noted = [(agent, "agent"), (rank, "rank"), (other, "rank")]
    (run / "agent.pid").write_text("".join(f"{each.pid} 1.0 {role}\n" for each, role in noted) + "x y z\n")
    try:
        async with reached(home) as host:
            await reap(host, "r")
        assert agent.wait(5) in (0, -15) and rank.wait(5) == -9
        assert other.poll() is None
        assert not (run / "agent.pid").exists()
    finally:
        for each, _ in noted:
            each.kill()
            each.wait()


@pytest.mark.parametrize("named", HOMES)
async def test_a_purge_removes_our_folder_and_nothing_else(tmp_path: Path, named: str) -> None:
    home = tmp_path / "home"
    ours = folder(home, named)
    (ours / "runs" / "r").mkdir(parents=True)
    (ours / MARKER).touch()
    (home / "thesis.txt").write_text("mine")
    async with reached(home, options(home=named)) as host:
        await purge_home(host)
        assert [entry.name for entry in home.iterdir()] == ["thesis.txt"]
        await purge_home(host)  # nothing there is no failure


async def test_a_folder_without_our_marker_is_never_purged(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "data").mkdir(parents=True)
    (home / "data" / "thesis.txt").write_text("mine")
    async with reached(home, options(home="~/data")) as host:
        assert (await host.run(purge("~/data"))).status == NOT_OURS
        with pytest.raises(ProvisionError, match="~/data has no marker file"):
            await purge_home(host)
    assert (home / "data" / "thesis.txt").read_text() == "mine"


async def test_what_somebody_else_put_there_is_left_and_named(tmp_path: Path) -> None:
    ours = tmp_path / "home" / ".mlxring"
    for name in (
        "venv-0123",
        "code-0123",
        "wheels-0123",
        "models",
        "runs",
        "python",
        "photos",
        ".secret; $(touch x)",
    ):
        (ours / name).mkdir(parents=True)
        (ours / name / "file").touch()
    (ours / "venv-0123.lock").touch()
    (ours / MARKER).touch()
    async with reached(tmp_path / "home") as host:
        with pytest.raises(ProvisionError, match=r"were left: .*photos"):
            await purge_home(host)
        assert sorted(path.name for path in ours.iterdir()) == [".secret; $(touch x)", MARKER, "photos"]
        assert (ours / "photos" / "file").exists()
        shutil.rmtree(ours / "photos")
        shutil.rmtree(ours / ".secret; $(touch x)")
        await purge_home(host)
    assert not ours.exists() and not (tmp_path / "home" / "x").exists()


async def test_a_link_in_our_folder_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    ours = tmp_path / "home" / ".mlxring"
    ours.mkdir(parents=True)
    (ours / MARKER).touch()
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").touch()
    (ours / "models").symlink_to(tmp_path / "weights")
    async with reached(tmp_path / "home") as host:
        await purge_home(host)
    assert not ours.exists() and (tmp_path / "weights" / "model.safetensors").exists()


async def test_nothing_is_purged_under_a_ring_that_runs(tmp_path: Path) -> None:
    run = tmp_path / "home" / ".mlxring" / "runs" / "other"
    run.mkdir(parents=True)
    (run.parents[1] / MARKER).touch()
    agent = started(sys.executable, "-c", "import time; time.sleep(60)", "ringcore", "agent")
    try:
        (run / "agent.pid").write_text(f"{agent.pid} 1760000000.5 agent\n")
        async with reached(tmp_path / "home") as host:
            with pytest.raises(ProvisionError, match="rings run from it: other"):
                await purge_home(host)
        assert (run / "agent.pid").exists()
    finally:
        agent.kill()
        agent.wait()
