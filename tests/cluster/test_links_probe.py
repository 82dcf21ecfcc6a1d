"""The ring's own ports are tried both ways before a rank starts; what is in the way is named."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from console.cluster import links_probe
from console.cluster.links_probe import Heard, places, probe, problems, targets
from ringcore.spec.errors import HostError
from ringcore.spec.facts import PythonFound
from ringcore.spec.profile import HostOptions, Profile, RingOptions
from tests.cluster.reach import options, reached
from tests.cluster.test_model import HERE
from tests.whole.harness import free_ports

NO_PYTHON = PythonFound("/bin/false", (3, 12, 0))
SCRIPT = resources.files("console.cluster").joinpath("links_there.py").read_text()


def profile(count: int) -> Profile:
    hosts = tuple(
        HostOptions(name=f"mini{n}", ssh=f"op@mini{n}", address=f"192.168.5.{n}") for n in range(1, count + 1)
    )
    return Profile(name="r", model="/m", hosts=hosts, ring=RingOptions(port=7600))


def test_every_host_tries_its_neighbours_and_the_leaders_agent() -> None:
    four = profile(4)
    assert places(four)["mini1"] == (("192.168.5.1", 7601), ("192.168.5.1", 7600))
    assert targets(four) == {
        "mini1": (("192.168.5.2", 7602), ("192.168.5.4", 7604)),
        "mini2": (("192.168.5.1", 7601), ("192.168.5.3", 7603), ("192.168.5.1", 7600)),
        "mini3": (("192.168.5.2", 7602), ("192.168.5.4", 7604), ("192.168.5.1", 7600)),
        "mini4": (("192.168.5.1", 7601), ("192.168.5.3", 7603), ("192.168.5.1", 7600)),
    }
    assert targets(profile(2))["mini1"] == (("192.168.5.2", 7602),)


def test_who_does_not_reach_whom_is_told_once_with_all_ports_and_a_remedy() -> None:
    heard = {
        "mini2": Heard(
            unreached=(("192.168.5.1", 7601, "ETIMEDOUT"), ("192.168.5.1", 7600, "ETIMEDOUT")),
        )
    }
    (found,) = problems(profile(2), heard)
    assert found.exit_code == 6 and found.failure.host == "mini2"
    assert found.failure.cause == (
        "mini2 does not reach mini1 at 192.168.5.1, port 7601, 7600: no answer within 3 s"
    )
    assert "no firewall on mini1 drops TCP to port 7601, 7600" in found.failure.remedy


def test_a_port_that_is_taken_and_a_foreign_address_are_told_of_their_own_host_only() -> None:
    heard = {
        "mini1": Heard(closed=(("192.168.5.1", 7600, "EADDRINUSE"),)),
        "mini2": Heard(
            closed=(("192.168.5.2", 7602, "EADDRNOTAVAIL"),),
            unreached=(("192.168.5.1", 7600, "another program answers"),),
        ),
    }
    first, second = problems(profile(2), heard)
    assert "the leader's agent cannot listen on 192.168.5.1:7600: the port is taken" in str(first)
    assert "192.168.5.2 is not an address of this host" in str(second)
    assert problems(profile(2), {}) == []


class There:
    """One host's end as a process."""

    def __init__(self, listen: list[tuple[str, int]], connect: list[tuple[str, int]]) -> None:
        order = {"token": "ab" * 16, "listen": listen, "connect": connect, "seconds": 1.0}
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-c", SCRIPT, json.dumps(order)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def word(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.communicate(timeout=10)


@pytest.fixture
def port() -> int:
    return free_ports(3)


@pytest.fixture
def pair(port: int) -> Iterator[tuple[There, There]]:
    one, two = ("127.0.0.1", port), ("127.0.0.1", port + 1)
    both = There([one], [two]), There([two], [one])
    yield both
    for each in both:
        each.process.kill()
        each.process.wait()


def test_two_ends_reach_each_other_and_leave_the_ports_free(pair: tuple[There, There], port: int) -> None:
    assert [end.answer() for end in pair] == [{"closed": []}] * 2
    for end in pair:
        end.word()
    assert [end.answer() for end in pair] == [{"unreached": []}] * 2
    for end in pair:
        end.word()
        end.close()
    with socket.socket() as rank:  # without SO_REUSEADDR: nothing of the probe is left on the port
        rank.bind(("127.0.0.1", port))


def test_what_is_in_the_way_comes_back_by_its_name(port: int) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", port + 2))
        silent.listen()
        end = There(
            [("127.0.0.1", port), ("192.0.2.9", port), ("127.0.0.1", port + 2)],
            [("127.0.0.1", port + 1), ("127.0.0.1", port + 2)],
        )
        closed = end.answer()["closed"]
        assert closed == [["192.0.2.9", port, "EADDRNOTAVAIL"], ["127.0.0.1", port + 2, "EADDRINUSE"]]
        end.word()
        unreached = end.answer()["unreached"]
        assert unreached == [
            ["127.0.0.1", port + 1, "ECONNREFUSED"],
            ["127.0.0.1", port + 2, "ETIMEDOUT"],
        ]
        end.close()


def test_an_end_whose_console_is_gone_ends_too(port: int) -> None:
    end = There([("127.0.0.1", port)], [])
    end.answer()
    end.close()
    assert end.process.returncode == 0


async def test_two_hosts_are_asked_over_ssh_all_at_once(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(links_probe, "is_loopback", lambda _address: False)
    hosts = tuple(options(name=f"h{n}", address=f"127.0.0.{n}") for n in (1, 2))
    ring = Profile(name="r", model="/m", hosts=hosts, ring=RingOptions(port=port))
    facts = {host.name: HERE for host in hosts}
    async with reached(tmp_path / "1", hosts[0]) as one, reached(tmp_path / "2", hosts[1]) as two:
        connected = {"h1": one, "h2": two}
        assert await probe(ring, connected, facts) == []
        with socket.create_server(("127.0.0.2", port + 2)):
            (found,) = await probe(ring, connected, facts)
        assert found.failure.host == "h2" and "the port is taken" in found.failure.cause
        with pytest.raises(HostError, match="probing the ring's network broke off"):
            await probe(ring, connected, facts | {"h2": structs.replace(HERE, pythons=(NO_PYTHON,))})
        assert await probe(ring, connected, facts) == []


def test_an_answer_about_places_that_nobody_was_asked_for_counts_nothing() -> None:
    assert problems(profile(2), {"mini1": Heard(unreached=(("10.0.0.1", 1, "ETIMEDOUT"),))}) == []
