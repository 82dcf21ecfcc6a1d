"""What went wrong between us and an SSH server, in an operator's words. Imported with asyncssh only."""

import errno
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import asyncssh

from console.cluster.target import Target
from ringcore.spec.errors import HostError

BROKEN = (OSError, asyncssh.Error, asyncssh.ChannelListenError)
_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254, 5.1
_TRY_SSH = "try `ssh {place}` by hand; it must log in without a question"


class Witness(asyncssh.SSHClient):
    """Sees how far a login came. Trusts no key of its own accord."""

    def __init__(self) -> None:
        self.met = False
        self.offered: asyncssh.SSHKey | None = None
        self.place: tuple[str, str, int] = ("", "", 22)

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.met = True

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered = key
        self.place = (host, addr, port)
        return False


@dataclass
class Attempt:
    """One login: for which host of the profile, at which server, and how far it came.

    ``via`` names the jump host it went through, ``is_jump`` says that the server is one itself.
    """

    name: str
    target: Target
    witness: Witness
    seconds: float
    options: asyncssh.SSHClientConnectionOptions | None = None
    is_jump: bool = False
    via: str = ""

    @property
    def where(self) -> str:
        """The server in words: as it was called, and where that led."""
        called = self.target.host
        host = self.options.host if self.options is not None else called
        port = (self.options.port if self.options is not None else None) or self.target.port or 22
        place = f"{called} port {port}" if host == called else f"{called} ({host} port {port})"
        return f"the jump host {place}" if self.is_jump else place


def explain(error: Exception, attempt: Attempt) -> HostError:
    """The `HostError` for a connection that did not come about."""
    say: Callable[[str, str], HostError] = lambda cause, remedy: HostError(cause, remedy, host=attempt.name)  # noqa: E731
    target, witness, options, where = attempt.target, attempt.witness, attempt.options, attempt.where
    by_hand = _TRY_SSH.format(place=_ssh_arguments(target))
    if isinstance(error, TimeoutError) or _errno(error) == errno.ETIMEDOUT:
        if witness.met:
            cause = (
                f"{where} took the connection but did not finish an SSH login within {attempt.seconds:.0f} s"
            )
            return say(cause, f"see that an SSH server listens there; {by_hand}")
        cause = f"{where} did not answer within {attempt.seconds:.0f} s"
        return say(
            cause, "see that the host is on, awake and on this network, and that no firewall drops SSH"
        )
    if (
        isinstance(error, asyncssh.HostKeyNotVerifiable)
        and witness.offered is not None
        and options is not None
    ):
        return _host_key(witness.offered, options, attempt)
    if isinstance(error, asyncssh.PermissionDenied) and options is not None:
        user = options.username
        remedy = f"put a key into that account with `ssh-copy-id {_ssh_arguments(target)}`"
        remedy += ", or load one that has a passphrase into the agent with `ssh-add`"
        return say(f"user {user} was refused by {where}; tried {_keys(options)}", remedy)
    if isinstance(error, asyncssh.ChannelOpenError) and attempt.via:
        return say(
            f"the jump host {attempt.via} did not lead to {where}: {error.reason}",
            f"see that {attempt.via} reaches it, and that its SSH server allows forwarding there "
            f"(AllowTcpForwarding, PermitOpen); {by_hand}",
        )
    if isinstance(error, socket.gaierror):
        host = options.host if options is not None else target.host
        return say(
            f"the name {host} is not known ({error.strerror})",
            "correct hosts.ssh in the profile or HostName in ~/.ssh/config, or use the host's IP address",
        )
    if _errno(error) == errno.ECONNREFUSED:
        return say(
            f"{where} refused the connection: no SSH server listens there",
            "start it (macOS: System Settings, Sharing, Remote Login; Linux: install openssh-server), "
            "or correct the port",
        )
    if isinstance(error, OSError) and not isinstance(error, asyncssh.Error):
        if witness.met:
            cause = f"{where} took the connection and ended it before a login: {error.strerror or error}"
            return say(cause, f"see that an SSH server listens there and lets this machine in; {by_hand}")
        return say(f"{where} cannot be reached: {error.strerror or error}", by_hand)
    reason = getattr(error, "reason", "") or str(error) or type(error).__name__
    return say(f"no SSH login at {where}: {reason}", by_hand)


def lost(name: str, error: Exception | None, doing: str) -> HostError:
    """A connection that broke while in use."""
    reason = (getattr(error, "reason", "") or str(error)) if error is not None else ""
    return HostError(
        f"the SSH connection was lost while {doing}{f' ({reason})' if reason else ''}",
        "see that the host is on and reachable, then run the command again",
        host=name,
    )


def not_forwarded(name: str, port: int, error: asyncssh.ChannelOpenError) -> HostError | None:
    """For a channel to ``port`` there that was not opened; None when only nobody listens."""
    if error.code != _PROHIBITED:
        return None
    return HostError(
        f"its SSH server does not forward to port {port} there: {error.reason}",
        f"allow it in sshd_config (AllowTcpForwarding local, PermitOpen 127.0.0.1:{port}) and restart sshd",
        host=name,
    )


def _host_key(
    offered: asyncssh.SSHKey, options: asyncssh.SSHClientConnectionOptions, attempt: Attempt
) -> HostError:
    name = attempt.name
    host, addr, port = attempt.witness.place
    connect_once = f"connect once with `ssh {_ssh_arguments(attempt.target)}`"
    known: Sequence[asyncssh.SSHKey] = ()
    files = known_hosts_files(options)
    found = asyncssh.match_known_hosts(files, host, addr, port)
    known, revoked = found[0], found[2]
    entry = host if port == 22 else f"[{host}]:{port}"
    shown = f"{offered.get_algorithm()} {offered.get_fingerprint()}"
    if offered in revoked:
        return HostError(
            f"the host key of {entry}, {shown}, is marked as revoked",
            "do not connect; ask whoever runs the host for its new key",
            host=name,
        )
    if known:
        had = ", ".join(f"{key.get_algorithm()} {key.get_fingerprint()}" for key in known)
        return HostError(
            f"the host key of {entry} has changed: it shows {shown}, known is {had}. "
            "Someone may be in between, or the host was installed anew",
            f"if the new fingerprint is right, remove the old line with `ssh-keygen -R '{entry}'` "
            f"and {connect_once}",
            host=name,
        )
    scan = "" if attempt.via else f", or `ssh-keyscan -p {port} {host} >> ~/.ssh/known_hosts`"
    return HostError(
        f"the host key of {entry} is unknown: it shows {shown}",
        f"if that fingerprint is right, {connect_once}{scan}",
        host=name,
    )


def known_hosts_files(options: asyncssh.SSHClientConnectionOptions) -> bytes | list[str]:
    """What host keys are checked against: data, or the files that can be read."""
    from os import R_OK, access
    from pathlib import Path

    given = options.known_hosts
    if isinstance(given, bytes):
        return given
    files = [str(Path(str(file)).expanduser()) for file in given] if isinstance(given, list) else []
    files = files or [str(Path("~/.ssh/known_hosts").expanduser()), "/etc/ssh/ssh_known_hosts"]
    return [file for file in files if access(file, R_OK)] or b""


def _keys(options: asyncssh.SSHClientConnectionOptions) -> str:
    pairs: Sequence[asyncssh.SSHKeyPair] = options.client_keys or ()
    names = [pair.get_comment() or pair.get_algorithm() for pair in pairs]
    if options.agent_path:
        names.append("the keys of the SSH agent")
    return "the keys " + ", ".join(names) if names else "no key: none was found"


def _ssh_arguments(target: Target) -> str:
    user = f"{target.user}@" if target.user else ""
    return f"{f'-p {target.port} ' if target.port not in (None, 22) else ''}{user}{target.host}"


def _errno(error: Exception) -> int | None:
    return error.errno if isinstance(error, OSError) else None
