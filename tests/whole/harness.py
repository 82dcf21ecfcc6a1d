"""Drives `mlxring` as an operator would: a profile, commands as processes, nothing left behind."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import tomlkit


@dataclass
class Ran:
    """A command that ended; ``seconds`` is wall time."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass
class Operator:
    """One profile and the commands over it. Everything lives below ``folder``."""

    folder: Path
    model: Path
    ranks: int = 2
    ring: dict[str, Any] = field(default_factory=dict)
    hosts: list[dict[str, Any]] = field(default_factory=list)
    top: dict[str, Any] = field(default_factory=dict)  # more keys of the profile

    def __post_init__(self) -> None:
        first = free_ports(self.ranks + 2)
        self.ring = {"port": first, "context": 1024, "prefill_chunk": 64} | self.ring
        self.api_port = first + self.ranks + 1
        self.hosts = self.hosts or [
            {"name": f"h{n}", "ssh": "local", "address": "127.0.0.1", "python": sys.executable}
            for n in range(self.ranks)
        ]
        (self.folder / "home").mkdir(parents=True, exist_ok=True)
        self.profile = self.folder / "ring.toml"
        self.write()

    def write(self) -> None:
        data = {
            "name": "t",
            "model": str(self.model),
            "ring": self.ring,
            "api": {"port": self.api_port},
            "hosts": self.hosts,
        } | self.top
        self.profile.write_text(tomlkit.dumps(data))

    @property
    def environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "home"),
            "XDG_CACHE_HOME": str(self.folder / "cache"),
            "PYTHONUNBUFFERED": "1",
            "TERM": "xterm-256color",
            "LANG": "C.UTF-8",
        }

    def start(self, command: str, *arguments: str) -> "subprocess.Popen[str]":
        """A command that goes on running; its output is piped."""
        return subprocess.Popen(
            [sys.executable, "-m", "console", command, str(self.profile), *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str, timeout: float = 90) -> Ran:
        """A command, to its end."""
        began = time.monotonic()
        process = self.start(command, *arguments)
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            raise AssertionError(f"{command} hung for {timeout} s\n{out}\n{err}") from None
        return Ran(process.returncode, out, err, time.monotonic() - began)

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this ring on the hosts whose command line has all ``words``. Their ``info`` is what
        was seen of them; any may have ended since."""
        found = []
        for process in seen("cwd"):
            here = str(process.info["cwd"]).startswith(f"{self.folder}/")
            if here and {"ringcore", *words} <= set(process.info["cmdline"]):
                found.append(process)
        return found

    def agent(self, number: int) -> psutil.Process:
        """The agent's process on one host."""
        found = [p for p in self.processes("agent") if f"/h{number}/" in p.info["cwd"]]
        assert len(found) == 1, f"{len(found)} agents of rank {number}"
        return found[0]

    def rank(self, number: int) -> psutil.Process:
        """The process of one rank."""
        found = [p for p in self.processes("rank") if argument(p, "--rank") == str(number)]
        assert len(found) == 1, f"{len(found)} processes of rank {number}"
        return found[0]

    def sockets(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_socket()]

    def nothing_is_left(self, within: float = 5) -> None:
        """Fails when a process, a socket or a listening port of the ring outlives ``within`` seconds."""
        until(lambda: not self._left(), within, lambda: f"left: {self._left()}")

    def _left(self) -> list[object]:
        processes = [process.info["cmdline"] for process in self.processes()]
        return processes or [*self.sockets(), *self._ports_that_listen()]

    def _ports_that_listen(self) -> Iterator[int]:
        for port in range(self.ring["port"], self.api_port + 1):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    yield port

    def clear(self) -> None:
        """After a test: end what it left, so that a failure does not spoil the next."""
        for process in self.processes():
            try:
                process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue


def seen(*more: str) -> Iterator[psutil.Process]:
    """All processes that run, with ``cmdline``, ``name`` and ``more`` in ``info``: to ask one that ends
    meanwhile would raise."""
    for process in psutil.process_iter(["cmdline", "name", "status", *more]):
        if process.info["status"] != psutil.STATUS_ZOMBIE:
            process.info["cmdline"] = process.info["cmdline"] or []  # it ends, or becomes another program
            yield process


def argument(process: psutil.Process, name: str) -> str:
    """What follows ``name`` on the command line of one that was `seen`."""
    line = process.info["cmdline"]
    return line[line.index(name) + 1]


def until(condition: Callable[[], object], within: float, why: Callable[[], str] = lambda: "") -> None:
    """Poll ``condition`` until it is true; fail with ``why`` after ``within`` seconds."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, why() or f"not true within {within} s"
        time.sleep(0.02)


def free_ports(count: int) -> int:
    """The first of ``count`` consecutive free loopback ports."""
    while True:
        first = random.randrange(20_000, 30_000)  # outgoing connections never take these
        taken = []
        for port in range(first, first + count):
            with socket.socket() as probe:
                taken.append(probe.connect_ex(("127.0.0.1", port)) == 0)
        if not any(taken):
            return first


@contextmanager
def taken(port: int) -> Iterator[None]:
    """Somebody else listens on ``port``."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield
