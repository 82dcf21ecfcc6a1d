"""Two networks of a machine room: switches, cables that can be pulled, packets that are dropped.

``ring`` (10.77.0.0/25) joins the ranks' hosts; ``office`` (10.77.0.128/25) joins the operator with those that
may be reached from there. No namespace has a way out; the machine's own network is not touched.
"""

import subprocess
from dataclasses import dataclass

from tests.hosts.needs import TIED, command

PREFIX = 25


@dataclass(frozen=True)
class Cable:
    """From a switch to ``device`` in the network namespace of process ``pid``."""

    switch: int
    port: str
    device: str
    pid: int

    def pull(self) -> None:
        ip(self.switch, "link", "set", self.port, "down")

    def plug_in(self) -> None:
        ip(self.switch, "link", "set", self.port, "up")


class Network:
    """The switches. They vanish with their process."""

    def __init__(self) -> None:
        self._process = alone_in_a_network()
        self.pid = self._process.pid
        self._ports = 0
        for name in ("ring", "office"):
            ip(self.pid, "link", "add", name, "type", "bridge")
            ip(self.pid, "link", "set", name, "up")

    def connect(self, network: str, pid: int, device: str, address: str) -> Cable:
        """Plugs ``pid``'s network in, with ``address`` on its new ``device``."""
        self._ports += 1
        port = f"port{self._ports}"
        ip(self.pid, "link", "add", port, "type", "veth", "peer", "name", device, "netns", str(pid))
        ip(self.pid, "link", "set", port, "master", network, "up")
        ip(pid, "addr", "add", f"{address}/{PREFIX}", "dev", device)
        ip(pid, "link", "set", device, "up")
        return Cable(self.pid, port, device, pid)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)


def alone_in_a_network() -> "subprocess.Popen[str]":
    """A process that keeps a new network namespace, with loopback, and does nothing."""
    process = subprocess.Popen(
        [*TIED, "unshare", "--net", "sh", "-c", "ip link set lo up && echo ready && exec sleep infinity"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.stdout.close()
    return process


def drop(pid: int, *matches: str) -> None:
    """Packets to the host of ``pid`` that match (words of nft) are thrown away, until `drop_nothing`."""
    drop_nothing(pid)
    rules = "add table inet trouble; add chain inet trouble in { type filter hook input priority 0; }"
    nft(pid, rules + "".join(f"; add rule inet trouble in {match} drop" for match in matches))


def drop_nothing(pid: int) -> None:
    nft(pid, "add table inet trouble; delete table inet trouble")


def nft(pid: int, rules: str) -> None:
    command(*within(pid), "nft", rules)


def ip(pid: int, *words: str) -> None:
    command(*within(pid), "ip", *words)


def within(pid: int) -> tuple[str, ...]:
    """What to put before a command for it to run in the network of ``pid``."""
    return ("nsenter", "--net", "--target", str(pid), "--")
