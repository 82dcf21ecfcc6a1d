"""The machine room: three hosts that differ as hosts do, their networks, and the operator's own machine.

=======  =====  ===================================  ==================================================
host     shell  SSH from the operator                what is odd there
=======  =====  ===================================  ==================================================
first    dash   an alias; hashed in known_hosts      nothing: the leader, and the way to ``third``
second   bash   user and address                     three host keys, known by ECDSA; banner; noisy .bashrc
third    fish   through ``first`` only (ProxyJump)   noisy config.fish; no way to the operator
=======  =====  ===================================  ==================================================
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tomlkit

from tests.hosts.machine import Machine
from tests.hosts.needs import command, key_pair
from tests.hosts.network import Network, alone_in_a_network, drop_nothing, within
from tests.whole.harness import Operator, argument, until
from tests.whole.seat import Seat

RING = {"first": "10.77.0.11", "second": "10.77.0.12", "third": "10.77.0.13"}
OFFICE = {"operator": "10.77.0.129", "first": "10.77.0.131", "second": "10.77.0.132"}
PORT, API_PORT = 7600, 8100
_CONFIG = """\
IdentityFile ~/.ssh/ring_key
Host first
  HostName 10.77.0.131
  User op-first
Host third
  HostName 10.77.0.13
  User op-third
  ProxyJump first
"""
_BASHRC = (
    "echo 'Welcome to second. Unauthorised use is logged.'\nprintf 'no newline at the end'\necho odd >&2\n"
)
_FISH = "echo 'Welcome to fish'\necho 'fish: a complaint' >&2\n"


class Room:
    """Made once for all tests; `clear` between them."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.machines: dict[str, Machine] = {}
        self.cables: dict[tuple[str, str], Any] = {}
        self.network = Network()
        self.operator = alone_in_a_network()
        try:
            self._furnish()
        except BaseException:
            self.close()
            raise

    def _furnish(self) -> None:
        self._add("first", "/bin/dash", 61001)
        self._add(
            "second",
            "/bin/bash",
            61002,
            files={".bashrc": _BASHRC, ".banner": "*** Property of second ***\n" * 3},
            sshd="Banner /home/op-second/.banner",
            key_kinds=("ed25519", "ecdsa", "rsa"),
        )
        self._add("third", "/usr/bin/fish", 61003, files={".config/fish/config.fish": _FISH})
        self.network.connect("office", self.operator.pid, "eth0", OFFICE["operator"])
        self.ssh = self.folder / "home" / ".ssh"
        self.ssh.mkdir(parents=True, mode=0o700)
        self.new_key()
        self.write_known_hosts()
        (self.ssh / "config").write_text(_CONFIG)
        for machine in self.machines.values():
            machine.authorize(self.ssh / "ring_key")

    def _add(self, name: str, shell: str, uid: int, **more: Any) -> None:
        machine = self.machines[name] = Machine(name, self.folder / name, shell, self.model, uid, **more)
        for network, addresses in (("office", OFFICE), ("ring", RING)):
            if name in addresses:
                self.cables[name, network] = self.network.connect(
                    network, machine.pid, network, addresses[name]
                )

    def new_key(self) -> None:
        """Another key for the operator; nobody has been told of it."""
        key_pair(self.ssh / "ring_key")

    def write_known_hosts(self) -> None:
        first, second, third = self.machines.values()
        file = self.ssh / "known_hosts"
        file.write_text(f"{OFFICE['first']} {first.public_key()}\n")
        command("ssh-keygen", "-q", "-H", "-f", str(file))
        file.with_suffix(".old").unlink()
        with file.open("a") as more:
            more.write(
                f"{OFFICE['second']} {second.public_key('ecdsa')}\n{RING['third']} {third.public_key()}\n"
            )

    def clear(self) -> None:
        """Every host as new, all cables in place, the operator's files right."""
        for cable in self.cables.values():
            cable.plug_in()
        for machine in self.machines.values():
            drop_nothing(machine.pid)
            machine.clear()
            machine.authorize(self.ssh / "ring_key")
        self.write_known_hosts()

    def close(self) -> None:
        for machine in self.machines.values():
            machine.close()
        self.operator.kill()
        self.operator.wait(10)
        self.network.close()


@dataclass
class RoomOperator(Operator):
    """The operator of the room's ring, at the machine in the office."""

    room: Room = None  # type: ignore[assignment]
    variables: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ring = {"port": PORT, "context": 1024, "prefill_chunk": 64} | self.ring
        self.api_port = API_PORT
        reach = {"first": "first", "second": f"op-second@{OFFICE['second']}", "third": "third"}
        self.hosts = self.hosts or [
            {"name": name, "ssh": ssh, "address": RING[name], "python": sys.executable}
            for name, ssh in reach.items()
        ]
        self.profile = self.folder / "ring.toml"
        self.write()

    def write(self) -> None:
        data = {"name": "t", "model": str(self.model), "ring": self.ring, "api": {"port": self.api_port}}
        self.profile.write_text(tomlkit.dumps(data | {"hosts": self.hosts} | self.top))

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"USER": "nobody-special", "LOGNAME": "nobody-special"} | self.variables

    def start(self, command: str, *arguments: str) -> "subprocess.Popen[str]":
        words = [sys.executable, "-m", "console", command, str(self.profile), *arguments]
        return subprocess.Popen(
            [*within(self.room.operator.pid), *words],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def sits_down(self, command: str, *arguments: str) -> Seat:
        """A command at a terminal."""
        words = [sys.executable, "-m", "console", command, str(self.profile), *arguments]
        return Seat([*within(self.room.operator.pid), *words], self.environment)

    def processes(self, *words: str) -> list[psutil.Process]:
        return [p for machine in self.room.machines.values() for p in machine.processes("ringcore", *words)]

    def rank(self, number: int) -> psutil.Process:
        found = [p for p in self.processes("rank") if argument(p, "--rank") == str(number)]
        assert len(found) == 1, f"{len(found)} processes of rank {number}"
        return found[0]

    def nothing_is_left(self, within: float = 8, hosts: Iterable[str] = RING) -> None:
        machines = [self.room.machines[name] for name in hosts]

        def left() -> list[object]:
            processes = [
                process.info["cmdline"] for each in machines for process in each.processes("ringcore")
            ]
            return processes or [each for machine in machines for each in _open(machine)]

        until(lambda: not left(), within, lambda: f"left: {left()}")


def _open(machine: Machine) -> Iterator[object]:
    """Sockets in files there, and the ring's ports on which something listens."""
    yield from (path for path in machine.home.rglob("*") if path.is_socket())
    table = machine.sockets()
    yield from (port for port in range(PORT, PORT + 4) if f":{port:04X} 00000000:0000 0A" in table)


def established(machine: Machine) -> set[tuple[str, str]]:
    """Both addresses of every TCP connection of ``machine`` that is open."""
    pairs = set()
    for line in machine.sockets().splitlines()[1:]:
        _, local, remote, state = line.split()[:4]
        if state == "01":
            pairs.add((_address(local), _address(remote)))
    return pairs


def _address(text: str) -> str:
    address, port = text.split(":")
    return f"{'.'.join(str(byte) for byte in reversed(bytes.fromhex(address)))}:{int(port, 16)}"


def user_id(process: psutil.Process) -> int:
    return Path(f"/proc/{process.pid}").stat().st_uid
