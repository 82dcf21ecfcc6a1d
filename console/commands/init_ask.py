"""The questions of ``mlxring init`` on a terminal: each answer is checked at once, and asked again if wrong.

Questions go to stderr, answers come from stdin. Knows the profile's keys, and nothing of files.
"""

import sys
from collections.abc import Sequence
from typing import Any

from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import DEMO_MODEL, RingOptions
from ringcore.spec.profile_file import profile_from

_MOST_HOSTS = 8


def ask(known: dict[str, Any]) -> dict[str, Any]:
    """``known`` with what was missing. Raises `ProfileError` when stdin ends before the answers do."""
    data = dict(known)
    if "name" not in data:
        data["name"] = _question("Name of the ring", "ring", _Check(["name"]))
    if "hosts" not in data:
        data["hosts"] = _hosts()
    local = all(host["ssh"] == "local" for host in data["hosts"])
    if "model" not in data:
        text = "Model: a folder on the hosts or here, owner/name of the hub" + (
            ', or "demo"' if local else ""
        )
        data["model"] = _question(text, DEMO_MODEL if local else "", _Check(["model"], local=local))
    ring = dict(data.get("ring", {}))
    if "context" not in ring:
        context = int(
            _question(
                "Context: tokens a sequence may reach",
                str(RingOptions().context),
                _Check(["ring", "context"], number=True),
            )
        )
        ring["context"] = context
        data["ring"] = ring
    return data


def _hosts() -> list[dict[str, Any]]:
    from console.commands.init import local_hosts

    count = int(_question("Ranks (one on each machine)", "2", _Check([], number=True, most=_MOST_HOSTS)))
    where = _question("Are they all on this machine? y/n", "y", _Check([], words=("y", "n", "yes", "no")))
    if where.lower().startswith("y"):
        return local_hosts(count)
    hosts: list[dict[str, Any]] = []
    for rank in range(count):
        _say(f"rank {rank}{', the leader' if rank == 0 else ''}:")
        names = [host["name"] for host in hosts]
        addresses = [host["address"] for host in hosts]
        host = {
            "name": _question("  Name of the host", f"host{rank}", _Check(["hosts", "name"], taken=names)),
            "ssh": _question("  SSH: [user@]host[:port]", "", _Check(["hosts", "ssh"])),
            "address": _question(
                "  IPv4 address on the ring's network", "", _Check(["hosts", "address"], taken=addresses)
            ),
        }
        memory = _question("  Memory for the rank, such as 12 GiB (empty: what is free)", "", _Memory())
        hosts.append(host | ({"memory": memory} if memory else {}))
    return hosts


class _Check:
    """Whether one answer is right where its key stands: what is wrong with it, or ""."""

    def __init__(
        self,
        key: list[str],
        *,
        local: bool = False,
        number: bool = False,
        most: int = 0,
        words: Sequence[str] = (),
        taken: Sequence[str] = (),
    ) -> None:
        self._key = key
        self._local = local
        self._number = number
        self._most = most
        self._words = words
        self._taken = [each.lower() for each in taken]

    def __call__(self, text: str) -> str:
        if not text:
            return "an answer is needed"
        if self._words and text.lower() not in self._words:
            return f"answer one of {', '.join(self._words)}"
        if text.lower() in self._taken:
            return "another host has that already"
        if self._number and not (text.isascii() and text.isdecimal() and len(text) < 10):
            return "a whole number is needed"
        if self._most and not 1 <= int(text) <= self._most:
            return f"a number from 1 to {self._most} is needed"
        return self._in_place(int(text) if self._number else text) if self._key else ""

    def _in_place(self, value: object) -> str:
        """What the profile's own rules say of the value in an otherwise sound profile."""
        address = "127.0.0.1" if self._local else "192.168.5.1"
        host: dict[str, Any] = {"name": "a", "ssh": "local", "address": address}
        data: dict[str, Any] = {"name": "a", "model": "/m", "hosts": [host]}
        if self._key[0] == "hosts":
            host[self._key[1]] = value
        elif self._key[0] == "ring":
            data["ring"] = {self._key[1]: value}
        else:
            data[self._key[0]] = value
        try:
            profile_from(data, "")
        except ProfileError as error:
            return error.failure.cause.partition("\n")[2].strip()
        return ""


class _Memory(_Check):
    """A size, or nothing."""

    def __init__(self) -> None:
        super().__init__(["hosts", "memory"])

    def __call__(self, text: str) -> str:
        return self._in_place(text) if text else ""


def _question(text: str, default: str, check: _Check) -> str:
    while True:
        sys.stderr.write(f"{text}{f' [{default}]' if default else ''}: ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        if not line:
            _say("")
            raise ProfileError(
                "the answers ended before the profile was complete; nothing was written",
                "answer every question, or give --name, --model and --host or --local",
            )
        given = line.strip() or default
        wrong = check(given)
        if not wrong:
            return given
        _say(wrong)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
