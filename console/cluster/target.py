"""Where a host's SSH server is, how it is known and how long it may take: the profile's
``[user@]host[:port]`` as a value."""

from dataclasses import dataclass
from typing import NamedTuple

from ringcore.spec.errors import HostError
from ringcore.spec.profile import HostOptions

# what a shell would read as its own; names like these reach commands of ~/.ssh/config (ProxyCommand, Match)
_SHELLS_OWN = frozenset("'\"`$\\;&<>|(){}*?~#!")


class Patience(NamedTuple):
    """Seconds for each phase: until the server takes the connection, until keys are exchanged, until it has
    let us in (a server may look up names and wait after a refusal)."""

    connect: float
    exchange: float
    login: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """What to connect to. ``port`` and ``user`` None: as ``~/.ssh/config`` and OpenSSH's defaults have it.

    ``known_hosts`` (in OpenSSH's format) and ``client_key`` (a private key, OpenSSH's format) replace
    the operator's own files, configuration and agent when they are given; both or none.
    """

    host: str
    port: int | None = None
    user: str | None = None
    known_hosts: bytes | None = None
    client_key: bytes | None = None

    @property
    def place(self) -> str:
        """``host`` or ``[host]:port``, as known_hosts files write it."""
        return self.host if self.port in (None, 22) else f"[{self.host}]:{self.port}"


def parse_target(options: HostOptions) -> Target:
    """Raises `HostError` for anything but ``[user@]host[:port]``; IPv6 addresses stand in brackets."""
    return parse_place(options.ssh, options.name)


def parse_place(text: str, name: str) -> Target:
    """`parse_target` of ``text``, which is said for the host ``name``."""
    user, at, place = text.rpartition("@")
    if place.startswith("["):
        host, bracket, rest = place[1:].partition("]")
        sound = bool(bracket) and (not rest or rest.startswith(":"))
        colon, port = rest[:1], rest[1:]
    elif place.count(":") > 1:  # a bare IPv6 address
        host, colon, port, sound = place, "", "", True
    else:
        host, colon, port = place.partition(":")
        sound = True
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        sound = False
    # a leading dash would be an option to anyone who pastes it behind `ssh`
    if not sound or not host or (at and not user) or text.startswith("-") or host.startswith("-"):
        sound = False
    if not sound or any(c in _SHELLS_OWN or c.isspace() or not c.isprintable() for c in text):
        raise HostError(
            f"{text!r} does not name an SSH server",
            "write hosts.ssh as [user@]host[:port], or local",
            host=name,
        )
    return Target(host=host, port=int(port) if colon else None, user=user or None)
