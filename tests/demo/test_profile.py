"""The demo's profile: this interpreter, ports that are free, nothing that a checked profile would refuse."""

import socket
import sys

import pytest

from console.demo.profile import demo_profile
from ringcore.spec.profile import DEMO_MODEL
from ringcore.spec.profile_rules import problems_of


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_it_is_a_profile_without_problems(ranks: int) -> None:
    profile = demo_profile(ranks)
    assert problems_of(profile) == []
    assert (len(profile.hosts), profile.model) == (ranks, DEMO_MODEL)
    assert {(host.ssh, host.python) for host in profile.hosts} == {("local", sys.executable)}


def test_its_ports_are_free_and_apart() -> None:
    profile = demo_profile(2)
    ports = {*range(profile.ring.port, profile.ring.port + 3), profile.api.port}
    assert len(ports) == 4
    for port in ports:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
