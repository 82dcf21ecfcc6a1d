"""What went wrong between us and an SSH server, in an operator's words. Imported with asyncssh only."""

import errno
import socket
from collections.abc import Callable, Sequence

import asyncssh

from console.cluster.known_hosts import look_up
from console.cluster.quoting import quote
from console.cluster.ssh_attempt import Attempt
from console.cluster.target import Target
from ringcore.spec.errors import HostError

BROKEN = (OSError, asyncssh.Error, asyncssh.ChannelListenError)
_PROHIBITED = 1  # SSH_OPEN_ADMINISTRATIVELY_PROHIBITED, RFC 4254, 5.1
_TRY_SSH = "try `ssh {place}` by hand; it must log in without a question"


def explain(error: Exception, attempt: Attempt) -> HostError:
    """The `HostError` for a connection that did not come about."""
    say: Callable[[str, str], HostError] = lambda cause, remedy: HostError(cause, remedy, host=attempt.name)  # noqa: E731
    target, witness, options, where = attempt.target, attempt.witness, attempt.options, attempt.where
    by_hand = _TRY_SSH.format(place=_ssh_arguments(target))
    if isinstance(error, TimeoutError) or _errno(error) == errno.ETIMEDOUT:
        return _too_slow(attempt, by_hand)
    if isinstance(error, asyncssh.HostKeyNotVerifiable) and witness.offered is not None:
        return _host_key(witness.offered, attempt)
    if isinstance(error, asyncssh.PermissionDenied) and options is not None:
        return _refused(options, attempt)
    if "Too many authentication failures" in str(error):
        return say(
            f"{where} gave up after too many keys that it does not take",
            "name the right one with IdentityFile and `IdentitiesOnly yes` for this host in ~/.ssh/config",
        )
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
        if witness.phase != "connect":
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


def no_session(name: str, error: asyncssh.ChannelOpenError) -> HostError:
    """For a command that the server did not let start."""
    return HostError(
        f"its SSH server starts no more commands on this connection: {error.reason}",
        "allow at least two at a time (MaxSessions in its sshd_config), and restart sshd",
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


def _too_slow(attempt: Attempt, by_hand: str) -> HostError:
    where, phase = attempt.where, attempt.witness.phase
    seconds = f"{getattr(attempt.patience, phase):.0f} s"
    match phase:
        case "connect":
            cause = f"{where} did not answer within {seconds}"
            remedy = "see that the host is on, awake and on this network, and that no firewall drops SSH"
        case "exchange":
            cause = f"{where} took the connection but did not finish an SSH key exchange within {seconds}"
            remedy = f"see that an SSH server listens there; {by_hand}"
        case "login":
            cause = f"{where} took the connection but did not finish an SSH login within {seconds}"
            remedy = f"see what keeps it (UseDNS and GSSAPIAuthentication no in its sshd_config); {by_hand}"
    return HostError(cause, remedy, host=attempt.name)


def _refused(options: asyncssh.SSHClientConnectionOptions, attempt: Attempt) -> HostError:
    witness = attempt.witness
    cause = f"user {options.username} was refused by {attempt.where}; tried {_keys(options)}"
    remedy = f"put a key into that account with `ssh-copy-id {_ssh_arguments(attempt.target)}`"
    if witness.locked:
        files = ", ".join(witness.locked)
        cause += f"; {files} would be taken and was not unlocked"
        add = f"ssh-add {quote(witness.locked[0])}"
        remedy = f"unlock it with `{add}`, or run this in a terminal, where it is asked for"
    else:
        remedy += ", or load one that has a passphrase into the agent with `ssh-add`"
        if (witness.takes_password or witness.takes_answers) and not attempt.can_ask:
            remedy += "; the server takes a password too, which is asked for in a terminal"
    return HostError(cause, remedy, host=attempt.name)


def _host_key(offered: asyncssh.SSHKey, attempt: Attempt) -> HostError:
    name, place = attempt.name, attempt.witness.place
    assert attempt.options is not None
    known = look_up(attempt.options, place)
    connect_once = f"connect once with `ssh {_ssh_arguments(attempt.target)}`"
    shown = f"{offered.get_algorithm()} {offered.get_fingerprint()}"
    if offered in known.revoked:
        return HostError(
            f"the host key of {place.entry}, {shown}, is marked as revoked",
            "do not connect; ask whoever runs the host for its new key",
            host=name,
        )
    if known.keys:
        had = ", ".join(dict.fromkeys(f"{key.get_algorithm()} {key.get_fingerprint()}" for key in known.keys))
        return HostError(
            f"the host key of {place.entry} has changed: it shows {shown}, known is {had}. "
            "Someone may be in between, or the host was installed anew",
            f"if the new fingerprint is right, remove the old line with `ssh-keygen -R '{place.entry}'` "
            f"and {connect_once}",
            host=name,
        )
    scan = "" if attempt.via else f", or `ssh-keyscan -p {place.port} {place.host} >> ~/.ssh/known_hosts`"
    return HostError(
        f"the host key of {place.entry} is unknown: it shows {shown}",
        "if that fingerprint is right, run `mlxring check PROFILE` in a terminal and say yes, "
        f"or anywhere with --accept-new-host-keys; or {connect_once}{scan}",
        host=name,
    )


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
