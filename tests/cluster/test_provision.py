"""Provisioning a host end to end, through SSH, on this machine."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from console.cluster.code_archive import code_archive
from console.cluster.facts import gather_facts
from console.cluster.provision import Prepared, provision
from console.cluster.ssh import SshHost
from ringcore.spec.deployment import MARKER
from ringcore.spec.errors import HostError, ProvisionError
from tests.cluster.reach import Heard, options, plain_environment, reached, until

OWN = options(python=sys.executable)


async def prepare(host: SshHost) -> tuple[Prepared, Heard]:
    heard = Heard()
    return await provision(host, await gather_facts(host), heard), heard


def names(folder: str) -> list[str]:
    return sorted(entry.name for entry in Path(folder).iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_host_with_the_packages_is_ready_within_a_second_and_then_has_nothing_to_do(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home" / ".mlxring"
    async with reached(tmp_path / "home", OWN) as host:
        began = time.monotonic()
        prepared, heard = await prepare(host)
        assert time.monotonic() - began < 1
        assert prepared == Prepared(str(home), sys.executable, f"{home}/code-{code_archive().hash}")
        assert (heard.steps[0].status, heard.steps[-1].status) == ("active", "done")
        assert [step.command.split()[0] for step in heard.steps if step.command] == ["mkdir", "tar"]
        assert mode(home) == 0o700 and (home / MARKER).is_file()
        before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}

        again, quiet = await prepare(host)
        assert again == prepared
        assert [step.detail for step in quiet.steps] == ["", "nothing to do", ""]
        assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


async def test_the_code_that_arrives_is_the_consoles_and_runs(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        prepared, _ = await prepare(host)
        script = "import sys; sys.path.insert(0, sys.argv[1]); import ringcore; print(ringcore.__file__)"
        ran = await host.run([prepared.python, "-I", "-c", script, prepared.code])
    assert ran.stdout.startswith(f"{prepared.code}/ringcore/__init__.py"), ran.stderr
    here = Path(__file__).parents[2] / "ringcore"
    there = Path(prepared.code) / "ringcore"
    sent = {str(p.relative_to(there)): p.read_bytes() for p in there.rglob("*") if p.suffix == ".py"}
    assert sent == {str(p.relative_to(here)): p.read_bytes() for p in here.rglob("*.py")}
    assert names(prepared.code) == ["ringcore"]


async def test_a_home_of_the_profiles_own_with_spaces_and_quotes_works(tmp_path: Path) -> None:
    what = options(python=sys.executable, home="~/it's a $(touch x) home/")
    async with reached(tmp_path / "home", what) as host:
        prepared, _ = await prepare(host)
    assert prepared.home == f"{tmp_path}/home/it's a $(touch x) home"
    assert (Path(prepared.code) / "ringcore" / "__main__.py").is_file()
    assert [entry.name for entry in (tmp_path / "home").iterdir()] == ["it's a $(touch x) home"]


async def test_code_that_is_damaged_there_is_sent_again(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        prepared, _ = await prepare(host)
        main = Path(prepared.code) / "ringcore" / "__main__.py"
        main.unlink()
        await prepare(host)
        assert main.is_file()


async def test_two_consoles_at_once_agree(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        facts = await gather_facts(host)
        one, other = await asyncio.gather(*(provision(host, facts, Heard()) for _ in range(2)))
    assert one == other
    assert names(one.home) == sorted([MARKER, Path(one.code).name])
    assert names(one.code) == ["ringcore"]


async def test_a_folder_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    mine = tmp_path / "home" / ".mlxring" / "thesis.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    async with reached(tmp_path / "home", OWN) as host:
        with pytest.raises(ProvisionError, match="marker"):
            await prepare(host)
    assert [entry.name for entry in mine.parent.iterdir()] == ["thesis.txt"]


async def test_a_place_that_cannot_be_written_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "file").write_text("")
    heard = Heard()
    async with reached(tmp_path / "home", options(python=sys.executable, home="~/file/below")) as host:
        with pytest.raises(ProvisionError, match=r"file/below cannot be made ready: .*[Nn]ot a directory"):
            await provision(host, await gather_facts(host), heard)
    assert heard.steps[-1].status == "failed"
    assert heard.steps[-1].failure is not None and heard.steps[-1].failure.host == "h1"


async def test_a_disk_without_room_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", OWN) as host:
        facts = msgspec.structs.replace(await gather_facts(host), disk_free_bytes=1 << 20)
        with pytest.raises(ProvisionError, match=r"1\.0 MiB free"):
            await provision(host, facts, Heard())
    assert not list((tmp_path / "home").iterdir())


async def test_a_disk_that_is_full_after_all_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    (home / "bin" / "tar").write_text(
        "#!/bin/sh\necho 'tar: write error: No space left on device' >&2; exit 2\n"
    )
    (home / "bin" / "tar").chmod(0o755)
    env = plain_environment(home)
    async with reached(home, OWN, env | {"PATH": f"{home}/bin:{env['PATH']}"}) as host:
        with pytest.raises(ProvisionError, match=r"disk of .* is full: .*No space left") as caught:
            await prepare(host)
    assert "free space" in caught.value.failure.remedy
    assert [entry.name for entry in (home / ".mlxring").iterdir()] == [MARKER]


async def test_what_an_interpreter_of_the_profile_lacks_is_named(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-m", "venv", "--without-pip", bare], check=True)
    async with reached(tmp_path / "home", options(python=f"{bare}/bin/python")) as host:
        with pytest.raises(ProvisionError, match=r"bare/bin/python lacks annotated-doc==.* and \d+ more"):
            await prepare(host)
    assert not list((tmp_path / "home").iterdir())


async def test_a_connection_that_ends_is_a_failed_step(tmp_path: Path) -> None:
    heard = Heard()
    async with reached(tmp_path / "home", OWN) as host:
        facts = await gather_facts(host)
    with pytest.raises(HostError):
        await provision(host, facts, heard)
    assert heard.steps[-1].status == "failed"


def pretend_pip(home: Path, script: str) -> dict[str, str]:
    """An environment whose first python claims to be 3.12 and whose pip is ``script``."""
    python = home / "bin" / "python3"
    python.parent.mkdir(parents=True)
    environment = {"sys_platform": "linux", "platform_machine": "x86_64", "python_full_version": "3.12.0"}
    answer = {
        "path": str(python),
        "prefix": "/p",
        "version": [3, 12, 0],
        "venv": True,
        "environment": environment,
        "installed": {},
        "system": "linux",
        "machine": "x86_64",
        "glibc": "2.36",
    }
    python.write_text(
        f"""#!/bin/sh
case $* in
  "-I -B -c "*) echo '{json.dumps(answer)}';;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python";;
  "-m pip "*) {script};;
esac
"""
    )
    python.chmod(0o755)
    env = plain_environment(home)
    return env | {"PATH": f"{home}/bin:{env['PATH']}"}


async def test_a_failing_pip_is_quoted_and_leaves_no_half_environment(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = pretend_pip(home, "echo Collecting mlx==1; echo 'ERROR: it is broken'; exit 1")
    heard = Heard()
    async with reached(home, env=env) as host:
        facts = await gather_facts(host)
        assert facts.pythons[0].path == str(home / "bin" / "python3")
        with pytest.raises(ProvisionError, match="pip failed: ERROR: it is broken"):
            await provision(host, facts, heard)
    assert any("mlx==1 (1 of" in step.detail and 0 < step.progress < 1 for step in heard.steps)
    left = {entry.name.split("-")[0] for entry in (home / ".mlxring").iterdir() if entry.is_dir()}
    assert left == {"code"}


def running_in(home: Path) -> list[psutil.Process]:
    """Processes whose command line names ``home``."""
    return [p for p in psutil.process_iter(["cmdline"]) if str(home) in " ".join(p.info["cmdline"] or [])]


async def test_an_interrupted_environment_is_recognised_and_made_again(tmp_path: Path) -> None:
    home = tmp_path / "home"
    gate = home / "gate"
    env = pretend_pip(home, f'if [ -e "{gate}" ]; then exit 0; fi; echo Collecting a==1; sleep 60')
    async with reached(home, env=env) as host:
        facts = await gather_facts(host)
        heard = Heard()
        running = asyncio.create_task(provision(host, facts, heard))
        await until(lambda: any("a==1" in step.detail for step in heard.steps))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert list((home / ".mlxring").glob("venv-*.new"))
        await until(lambda: not running_in(home))
        gate.touch()
        prepared = await provision(host, facts, Heard())
        assert "python" in names(str(Path(prepared.python).parent))
        assert not list((home / ".mlxring").glob("venv-*.new"))
        assert (await provision(host, facts, (quiet := Heard()))) == prepared
        assert [step.detail for step in quiet.steps] == ["", "nothing to do", ""]


async def test_uv_makes_the_environment_where_the_host_has_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    env = pretend_pip(home, "exit 1")
    uv = home / ".local" / "bin" / "uv"
    uv.parent.mkdir(parents=True)
    uv.write_text(
        """#!/bin/sh
echo "$*" >> "$HOME/asked"
case "$1 $2" in
  "venv "*) for last in "$@"; do :; done; mkdir -p "$last/bin" && cp "$HOME/bin/python3" "$last/bin/python";;
  "pip install") echo " Downloaded numpy" >&2; echo "Prepared 1 package in 2ms" >&2;;
esac
"""
    )
    uv.chmod(0o755)
    heard = Heard()
    async with reached(home, env=env) as host:
        prepared = await provision(host, await gather_facts(host), heard)
    assert "python" in names(str(Path(prepared.python).parent))
    made, installed = (home / "asked").read_text().splitlines()
    assert f"--python {home}/bin/python3" in made
    assert "--require-hashes" in installed and installed.endswith(
        f"-r {Path(prepared.python).parents[1]}.lock"
    )
    assert [step.detail for step in heard.steps if "numpy" in step.detail or "installing" in step.detail]


@pytest.mark.slow
async def test_a_real_environment_is_made_from_the_index_and_an_interrupted_one_continued(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with reached(home, env=plain_environment(home)) as host:
        facts = await gather_facts(host)
        if not any(python.version >= (3, 11) and python.has_venv for python in facts.pythons):
            pytest.skip("this machine has no other Python that makes environments")
        heard = Heard()
        running = asyncio.create_task(provision(host, facts, heard))
        await until(lambda: any("(5 of" in step.detail for step in heard.steps), within=150)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert not list((home / ".mlxring").glob("venv-*/bin/python"))

        heard = Heard()
        prepared = await provision(host, facts, heard)
        progress = [step.progress for step in heard.steps]
        assert progress == sorted(progress) and len(set(progress)) > 30
        assert not list((home / ".mlxring").glob("venv-*.new"))
        card = await host.run(
            [
                prepared.python,
                "-c",
                "import mlx.core as mx, mlx_lm, msgspec, uvicorn; print(mx.array(2) + 1)",
            ],
            timeout=60,
        )
        assert card.stdout == "array(3, dtype=int32)\n", card.stderr
        assert (await provision(host, facts, (quiet := Heard()))) == prepared
        assert [step.detail for step in quiet.steps] == ["", "nothing to do", ""]
        own = options(python=prepared.python)
    async with reached(home, own) as host:
        assert (await gather_facts(host)).pythons[0].has_lock


def test_the_archive_is_the_same_whenever_it_is_made() -> None:
    made = code_archive()
    code_archive.cache_clear()
    os.utime(Path(__file__).parents[2] / "ringcore" / "__init__.py")
    assert code_archive() == made
