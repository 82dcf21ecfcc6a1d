"""Agents of other rings and ports in use, from the real commands' format; and what is said of them."""

import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec import structs

from console.cluster.facts import gather_facts
from console.cluster.facts_in_use import in_the_way, parse_agents, parse_listening
from ringcore.spec.facts import AgentFound, HostFacts, Listening
from ringcore.spec.profile import ApiOptions, HostOptions, Profile, RingOptions
from tests.cluster.reach import options, reached, until

# ruff: noqa: E501
PS = """\
operator   4711 /home/operator/.mlxring/venv-0123/bin/python3 -m ringcore agent --run /home/operator/.mlxring/runs/minis --report-fd 4
bob       99120 /opt/homebrew/opt/python@3.13/bin/Python -m ringcore agent --run /Users/bob/my rings/runs/other --stay
operator   4700 grep ringcore agent --run x
operator   4800 vi notes about -m ringcore agent --run me
"""
PROC_TCP = """\
   0: 0100007F:1FA4 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 760915 1 000000001edf4480 100 0 0 10 0
   1: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1214 1 000000006f6bedac 100 0 0 10 0
   2: 0B004D0A:1DB1 0C004D0A:A4BB 01 00000000:00000000 02:00000A77 00000000  1000        0 11 4 000000002a748e12 20 4 30 10 -1
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1216 1 0000000001 100 0 0 10 0
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1217 1 0000000002 100 0 0 10 0
   2: 0000000000000000FFFF00000B004D0A:1DB0 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1218 1 0000000003 100 0 0 10 0
"""
NETSTAT = """\
tcp4       0      0  192.168.5.1.7600       *.*                    LISTEN
tcp46      0      0  *.8100                 *.*                    LISTEN
tcp6       0      0  ::1.631                *.*                    LISTEN
tcp4       0      0  192.168.5.1.7601       192.168.5.2.50122      ESTABLISHED
"""


def test_agents_of_other_users_and_homes_are_found_by_their_command() -> None:
    assert parse_agents(PS) == (
        AgentFound("minis", "operator", 4711, "/home/operator/.mlxring/runs/minis"),
        AgentFound("other", "bob", 99120, "/Users/bob/my rings/runs/other"),
    )
    assert parse_agents("") == ()


def test_linux_ports_come_from_the_kernels_tables() -> None:
    assert parse_listening(PROC_TCP) == (
        Listening("127.0.0.1", 8100),
        Listening("", 22),
        Listening("::1", 631),
        Listening("10.77.0.11", 7600),
    )


def test_mac_ports_come_from_netstat() -> None:
    assert parse_listening(NETSTAT) == (
        Listening("192.168.5.1", 7600),
        Listening("", 8100),
        Listening("::1", 631),
    )


def started(*argv: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(argv)


async def test_this_machines_own_are_found(tmp_path: Path) -> None:
    run = tmp_path / "elsewhere" / "runs" / "stray"
    script = "import time; time.sleep(60)"
    agent = started(
        sys.executable, "-c", script, "-m", "ringcore", "agent", "--run", str(run), "--report-fd", "9"
    )
    try:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            await until(lambda: b"stray" in Path(f"/proc/{agent.pid}/cmdline").read_bytes())
            async with reached(tmp_path / "home", options(python=sys.executable)) as host:
                facts = await gather_facts(host)
            assert Listening("127.0.0.1", taken.getsockname()[1]) in facts.listening
        found = [one for one in facts.agents if one.pid == agent.pid]
        assert [(one.ring, one.run, one.user) for one in found] == [("stray", str(run), facts.user)]
        assert "stray" not in facts.rings
    finally:
        agent.kill()
        agent.wait()


@dataclass
class World:
    profile: Profile
    facts: dict[str, HostFacts]

    def said(self, **changes: object) -> list[str]:
        """With ``changes`` to the facts of the second host."""
        facts = self.facts | {"mini2": structs.replace(self.facts["mini2"], **changes)}
        return list(in_the_way(self.profile, facts))


@pytest.fixture
def world() -> World:
    hosts = tuple(HostOptions(name=f"mini{n}", ssh=f"op@mini{n}", address=f"192.168.5.{n}") for n in (1, 2))
    profile = Profile(name="minis", model="/m", hosts=hosts, ring=RingOptions(port=7600), api=ApiOptions())
    facts = {
        host.name: HostFacts(
            host=host.name, os="linux", arch="x86_64", user="op", home="/home/op", shell="/bin/sh", cores=8,
            total_memory_bytes=1, available_memory_bytes=1, disk_free_bytes=1,
        )
        for host in hosts
    }  # fmt: skip
    return World(profile, facts)


def test_nothing_is_said_of_hosts_that_are_free(world: World) -> None:
    others = (Listening("", 22), Listening("127.0.0.1", 7602), Listening("192.168.5.2", 7600))
    assert world.said(listening=others, clock_skew_seconds=1.5) == []


@pytest.mark.parametrize("address", ["", "192.168.5.2", "::"])
def test_a_port_that_the_ring_needs_and_somebody_has(world: World, address: str) -> None:
    (said,) = world.said(listening=(Listening(address, 7602),))
    assert said.startswith("mini2: port 7602, which the ring's link needs") and "lsof -i :7602" in said


def test_the_leader_needs_more_ports(world: World) -> None:
    taken = tuple(Listening("", port) for port in (7600, 7601, 8100))
    world.facts["mini1"] = structs.replace(world.facts["mini1"], listening=taken)
    said = world.said()
    assert [text.split(",")[0] for text in said] == [f"mini1: port {port}" for port in (7600, 7601, 8100)]


def test_its_own_ports_do_not_stand_in_a_running_rings_way(world: World) -> None:
    mine = AgentFound("minis", "op", 1, "/home/op/.mlxring/runs/minis")
    assert world.said(listening=(Listening("", 7602),), rings=("minis",), agents=(mine,)) == []


def test_another_ring_is_named_with_its_operator(world: World) -> None:
    (said,) = world.said(agents=(AgentFound("minis", "bob", 7, "/Users/bob/.mlxring/runs/minis"),))
    assert "the ring minis of bob runs here too" in said and "pid 7" in said


@pytest.mark.parametrize(("skew", "words"), [(3600.0, "3600 s ahead of"), (-90.0, "90 s behind")])
def test_a_clock_that_is_wrong_is_said(world: World, skew: float, words: str) -> None:
    (said,) = world.said(clock_skew_seconds=skew)
    assert words in said and "timedatectl" in said


def test_a_host_that_was_not_reached_is_passed_over(world: World) -> None:
    del world.facts["mini1"]
    assert in_the_way(world.profile, world.facts) == ()
