"""Facts of a host: of this machine for real, of a Mac from recorded output."""

import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from console.cluster.facts import expanded, gather_facts, read_facts
from console.cluster.host import Completed
from console.cluster.pythons import parse_probe
from console.cluster.ssh import SshHost
from ringcore.spec.errors import HostError
from ringcore.spec.facts import NetworkAddress, PythonFound
from ringcore.spec.profile import HostOptions
from tests.cluster.reach import gone, options, plain_environment, reached, until
from tests.cluster.test_facts_memory import VM_STAT
from tests.cluster.test_facts_parse import IFCONFIG, MAC_DF, PORTS

MAC_PYTHONS = """\
/opt/homebrew/bin/python3\t{"path": "/opt/homebrew/opt/python@3.13/bin/python3.13", \
"prefix": "/opt/homebrew/opt/python@3.13/Frameworks/Python.framework/Versions/3.13", \
"version": [3, 13, 2], "venv": true, "installed": {"pip": "25.0"}, "environment": {"sys_platform": "darwin", \
"platform_machine": "arm64", "os_name": "posix", "platform_system": "Darwin", \
"implementation_name": "cpython", \
"platform_python_implementation": "CPython", "python_full_version": "3.13.2", "python_version": "3.13"}}
/usr/bin/python3\txcode-select: error
"""
MAC = {
    "uname": "Darwin arm64\n",
    "user": "operator\n",
    "home": "/Users/operator\n",
    "shell": "/bin/zsh\n",
    "clock": "1760000000\n",
    "disk": MAC_DF,
    "uv": "/opt/homebrew/bin/uv\n",
    "rings": "minis\nother\n",
    "pythons": MAC_PYTHONS,
    "cores": "14\n",
    "memsize": "51539607552\n",
    "vm_stat": VM_STAT,
    "chip": "Apple M4 Pro\n",
    "ifconfig": IFCONFIG,
    "ports": PORTS,
    "end": "",
}


async def test_this_machine_is_described_as_it_is(host: SshHost, tmp_path: Path) -> None:
    facts = await gather_facts(host)
    memory = psutil.virtual_memory()
    assert (facts.host, facts.os, facts.arch) == ("h1", sys.platform, os.uname().machine)
    assert facts.home == str(tmp_path / "home")
    assert facts.shell == "/bin/sh"
    assert facts.cores == len(os.sched_getaffinity(0))
    assert facts.total_memory_bytes == memory.total
    assert abs(facts.available_memory_bytes - memory.available) < 1 << 30
    assert 0 < facts.reclaimable_memory_bytes < facts.available_memory_bytes
    assert facts.swap_bytes == psutil.swap_memory().total
    assert facts.os_version
    assert facts.disk_free_bytes > 0
    assert NetworkAddress("lo", "127.0.0.1", "loopback", 8) in facts.addresses
    assert abs(facts.clock_skew_seconds) < 2
    assert facts.rings == ()


async def test_the_consoles_own_interpreter_has_what_is_locked_and_comes_first(host: SshHost) -> None:
    first = (await gather_facts(host)).pythons[0]
    assert Path(first.path).parent == Path(sys.executable).parent
    assert (first.version, first.has_venv, first.has_lock) == (sys.version_info[:3], True, True)


async def test_only_the_profiles_interpreter_is_asked_when_it_is_there(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", options(python=sys.executable)) as host:
        pythons = (await gather_facts(host)).pythons
    assert pythons == (PythonFound(sys.executable, sys.version_info[:3], True, True),)


async def test_the_tilde_in_the_profile_is_the_hosts_own_home(tmp_path: Path) -> None:
    link = tmp_path / "home" / "my python"
    link.parent.mkdir()
    link.symlink_to(sys.executable)
    async with reached(tmp_path / "home", options(python="~/my python", home="~/deep/er")) as host:
        facts = await gather_facts(host)
    assert facts.pythons[0].path == str(link)
    assert facts.disk_free_bytes > 0  # of the nearest folder that exists


async def test_other_interpreters_are_named_when_the_profiles_is_not_there(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", options(python="/no/such; touch x")) as host:
        facts = await gather_facts(host)
    assert facts.pythons and all(python.path != "/no/such; touch x" for python in facts.pythons)
    assert not list((tmp_path / "home").iterdir())


async def test_an_interpreter_without_the_packages_has_no_lock(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    venv.create(bare)
    async with reached(tmp_path / "home", options(python=str(bare / "bin" / "python"))) as host:
        assert [python.has_lock for python in (await gather_facts(host)).pythons] == [False]


async def test_what_calls_itself_python_and_is_not_is_passed_over(tmp_path: Path) -> None:
    home = tmp_path / "home"
    fake = home / ".local" / "bin" / "python3"
    fake.parent.mkdir(parents=True)
    fake.write_text("#!/bin/sh\necho '{}'; echo what? >&2; exit 0\n")
    fake.chmod(0o755)
    async with reached(home, env=plain_environment(home)) as host:
        assert str(fake) not in [python.path for python in (await gather_facts(host)).pythons]


ENVIRONMENT = json.loads(MAC_PYTHONS.partition("\t")[2].partition("\n")[0])["environment"]


def test_half_an_answer_of_an_interpreter_is_none() -> None:
    whole = MAC_PYTHONS.partition("\t")[2].partition("\n")[0]
    assert parse_probe(whole) is not None
    assert parse_probe(whole.replace('"sys_platform": "darwin", ', "")) is None


async def test_pythons_are_found_where_people_have_them(tmp_path: Path) -> None:
    home = tmp_path / "the home"
    places = [
        home / ".local/bin/python3.12",
        home / ".pyenv/versions/3.12.1/bin/python3",
        home / ".local/share/uv/python/cpython-3.13.1-macos-aarch64-none/bin/python3",
        home / "miniforge3/bin/python3",
        home / ".mlxring/python/cpython-3.12/bin/python3",
    ]
    for number, place in enumerate(places):
        said = json.dumps(
            {
                "path": str(place), "prefix": f"/p{number}", "version": [3, 12, number], "venv": True,
                "installed": {}, "environment": ENVIRONMENT,
            }
        )  # fmt: skip
        place.parent.mkdir(parents=True)
        place.write_text(f"#!/bin/sh\necho '{said}'\n")
        place.chmod(0o755)
    async with reached(home, env=plain_environment(home)) as host:
        found = {python.path for python in (await gather_facts(host)).pythons}
    assert set(map(str, places)) <= found


@contextmanager
def process(*argv: str) -> Iterator[int]:
    started = subprocess.Popen(argv)
    try:
        yield started.pid
    finally:
        started.kill()
        started.wait()


async def test_rings_are_those_whose_agent_lives(tmp_path: Path) -> None:
    home = tmp_path / "home"

    def pid_file(ring: str, text: str) -> None:
        (home / ".mlxring" / "runs" / ring).mkdir(parents=True)
        (home / ".mlxring" / "runs" / ring / "agent.pid").write_text(text)

    with (
        process(sys.executable, "-c", "import time; time.sleep(60)", "ringcore", "agent") as agent,
        process("/bin/sleep", "60") as other,
    ):
        pid_file("alive", f"{agent} 1760000000.5 agent\n{other} 1760000001.5 rank\n")
        pid_file("reused-pid", f"{other} 1760000000.5 agent\n")
        pid_file("nonsense", "; touch x\n")
        pid_file("empty", "")
        with process("/bin/true") as dead:
            await until(lambda: gone(dead))
        pid_file("dead", f"{dead} 1760000000.5 agent\n")
        async with reached(home) as host:
            assert (await gather_facts(host)).rings == ("alive",)


def test_a_mac_is_read_from_its_own_commands() -> None:
    facts = read_facts(MAC, options(), 1760000000.2, 1760000000.4)
    assert (facts.os, facts.arch, facts.chip, facts.cores) == ("darwin", "arm64", "Apple M4 Pro", 14)
    assert facts.total_memory_bytes == 48 << 30
    assert 0 < facts.available_memory_bytes < facts.total_memory_bytes
    assert facts.uv == "/opt/homebrew/bin/uv"
    assert facts.rings == ("minis", "other")
    assert facts.clock_skew_seconds == 0.0
    assert facts.pythons == (
        PythonFound("/opt/homebrew/opt/python@3.13/bin/python3.13", (3, 13, 2), True, False),
    )
    assert {address.kind for address in facts.addresses} == {
        "loopback", "ethernet", "wifi", "thunderbolt", "",
    }  # fmt: skip


def test_another_system_is_refused_by_name() -> None:
    with pytest.raises(HostError, match="FreeBSD") as caught:
        read_facts(MAC | {"uname": "FreeBSD amd64\n"}, options(), 0, 1)
    assert caught.value.failure.host == "h1"


class Broken:
    """A host whose shell stops half-way."""

    options: HostOptions = options()

    async def run(self, argv: list[str], **_: object) -> Completed:
        return Completed(1, f"{argv[4]} uname\nLinux x86_64\n", "sh: out of memory")


async def test_a_script_that_breaks_off_is_no_half_truth() -> None:
    with pytest.raises(HostError, match="broke off: sh: out of memory"):
        await gather_facts(Broken())  # type: ignore[arg-type]


class Absurd(Broken):
    """A host that says what no host says."""

    async def run(self, argv: list[str], **_: object) -> Completed:
        said = MAC | {"clock": "9" * 5000 + "\n"}
        return Completed(
            0, "".join(f"{argv[4]} {name}\n{text}" for name, text in said.items()) + f"{argv[4]} end\n", ""
        )


async def test_what_makes_no_sense_is_told_as_the_hosts() -> None:
    with pytest.raises(HostError, match="makes no sense") as caught:
        await gather_facts(Absurd())  # type: ignore[arg-type]
    assert caught.value.failure.host == "h1"


async def test_facts_take_one_round_trip_and_little_time(tmp_path: Path) -> None:
    async with reached(tmp_path / "home", options(python=sys.executable)) as host:
        commands = []
        run = host.run

        async def counted(argv, **rest):  # type: ignore[no-untyped-def]
            commands.append(argv)
            return await run(argv, **rest)

        host.run = counted  # type: ignore[method-assign]
        began = time.monotonic()
        await gather_facts(host)
        assert time.monotonic() - began < 1
        assert len(commands) == 1


def test_the_tilde_is_each_hosts_own_home() -> None:
    assert expanded("~/models/m", "/home/op") == "/home/op/models/m"
    assert expanded("/models/m", "/home/op") == "/models/m"
    assert expanded("/models/~/m", "/home/op") == "/models/~/m"
