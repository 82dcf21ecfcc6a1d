"""Logs in at an SSH server the way OpenSSH does: configuration, known hosts, agent, keys, jump hosts; then,
when somebody can be asked, a key's passphrase and a password.

Needs asyncssh. Jump hosts are logged in at here and not by asyncssh, so that each is held to the same rules
and named when it is the one that fails.
"""

from collections.abc import Sequence

import asyncssh
from asyncssh.encryption import get_default_encryption_algs

from console.cluster.answers import Answers
from console.cluster.known_hosts import add, look_up, own_file, sources
from console.cluster.ssh_attempt import Attempt, Witness
from console.cluster.ssh_credentials import Credentials, locked_files
from console.cluster.ssh_errors import BROKEN, explain
from console.cluster.target import Patience, Target, parse_place
from console.ports import HostKeyShown
from ringcore.spec.errors import HostError

_MOST_JUMPS = 8


class _Way:
    """Who logs in, and how: the same for a host and for all jump hosts on the way to it."""

    def __init__(self, name: str, answers: Answers, patience: Patience) -> None:
        self.name = name
        self.answers = answers
        self.patience = patience


async def login(
    name: str, target: Target, answers: Answers, patience: Patience
) -> asyncssh.SSHClientConnection:
    """A connection that is logged in. Raises `HostError` naming host ``name``.

    The host key is verified always, whatever ``~/.ssh/config`` says about it. No time that the operator
    takes to answer counts.
    """
    return await _login(_Way(name, answers, patience), target, 0, None, "")


async def _login(
    way: _Way, target: Target, depth: int, tunnel: asyncssh.SSHClientConnection | None, via: str
) -> asyncssh.SSHClientConnection:
    """``depth``: how many logins wait for this one, which is a jump host's then. ``via`` names ``tunnel``."""
    credentials = Credentials(way.answers)
    try:
        while True:
            witness = Witness(credentials.given, way.patience)
            attempt = Attempt(way.name, target, witness, way.patience, is_jump=depth > 0, via=via)
            attempt.can_ask = way.answers.can_ask and target.client_key is None
            try:
                made = attempt.options = await _options(attempt)
                if tunnel is None and isinstance(made.tunnel, str):
                    tunnel, via = await _through(way, made.tunnel, depth + 1)
                    attempt.via = via
                connection = await _connect(attempt, made, tunnel)
            except (*BROKEN, TimeoutError) as error:
                if not await _mended(error, attempt, credentials, way.answers):
                    raise explain(error, attempt) from None
            else:
                if tunnel is not None:
                    connection.set_tunnel(tunnel)  # which ends with it
                return connection
    except BaseException as error:
        if tunnel is not None:
            tunnel.close()
        if isinstance(error, ValueError):  # a configuration, key or known_hosts file that cannot be read
            raise HostError(
                f"an SSH file is wrong: {error}", "correct it under ~/.ssh", host=way.name
            ) from None
        raise


async def _options(attempt: Attempt) -> asyncssh.SSHClientConnectionOptions:
    """What configuration and keys say of this server."""
    async with attempt.witness.limited():
        try:
            return await _construct(attempt, attempt.witness.passphrase)
        except TypeError:
            # asyncssh 2.24 does that to a key in the old PEM format with a passphrase and no .pub beside it
            made = await _construct(attempt, None)
            attempt.witness.locked += locked_files(made)
            return made


async def _construct(attempt: Attempt, passphrase: object) -> asyncssh.SSHClientConnectionOptions:
    from console.cluster.ssh import KEEPALIVE_COUNT, KEEPALIVE_SECONDS

    target = attempt.target
    own_files = target.client_key is not None
    return await asyncssh.SSHClientConnectionOptions.construct(
        # () means the operator's own file; asyncssh reads none when nothing is said here
        config=None if own_files else (),
        host=target.host,
        port=target.port or (),
        username=target.user or (),
        client_factory=lambda: attempt.witness,
        login_timeout=0,
        passphrase=passphrase,
        keepalive_interval=KEEPALIVE_SECONDS,
        keepalive_count_max=KEEPALIVE_COUNT,
        gss_kex=False,
        gss_auth=False,
        agent_forwarding=False,
        x11_forwarding=False,
        password_auth=not own_files,
        kbdint_auth=not own_files,
        **_own_files(target),
    )


async def _connect(
    attempt: Attempt,
    made: asyncssh.SSHClientConnectionOptions,
    tunnel: asyncssh.SSHClientConnection | None,
) -> asyncssh.SSHClientConnection:
    target = attempt.target
    async with attempt.witness.limited():
        return await asyncssh.connect(
            target.host,
            target.port or (),
            config=None if target.client_key is not None else (),
            options=made,
            tunnel=tunnel or (),
            known_hosts=sources(made),
            encryption_algs=quickest(made.encryption_algs),
        )


def quickest(chosen: Sequence[bytes]) -> Sequence[str]:
    """The ciphers to offer, AES-128 with GCM first: ChaCha20 takes more of a processor, and weights are many
    bytes. Empty, which leaves it to the configuration, where that names ciphers."""
    if list(chosen) != get_default_encryption_algs():
        return ()
    return sorted((name.decode() for name in chosen), key=lambda name: ("gcm" not in name, "256" in name))


async def _mended(error: Exception, attempt: Attempt, credentials: Credentials, answers: Answers) -> bool:
    """What failed may go well the next time."""
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        first, credentials.host_key_asked = not credentials.host_key_asked, True
        return first and await _trusted(attempt, answers)
    if isinstance(error, asyncssh.PermissionDenied):
        return await credentials.more(attempt)
    return False


async def _trusted(attempt: Attempt, answers: Answers) -> bool:
    """The key of a server that nobody knew is known now."""
    key, place, options = attempt.witness.offered, attempt.witness.place, attempt.options
    if key is None or options is None:
        return False
    file, known = own_file(options), look_up(options, place)
    if key in known.keys and key not in known.revoked:
        return True  # another host's login has asked in the meantime
    if file is None or known.keys or key in known.revoked:
        return False
    shown = HostKeyShown(
        host=attempt.name,
        server=place.entry,
        algorithm=key.get_algorithm(),
        fingerprint=key.get_fingerprint(),
    )
    return await answers.trusts(
        shown, lambda: key in look_up(options, place).keys, lambda: add(file, place, key, attempt.name)
    )


async def _through(way: _Way, jumps: str, depth: int) -> tuple[asyncssh.SSHClientConnection | None, str]:
    """A connection to the last of ``jumps`` (``[user@]host[:port],...``), and that one's name."""
    if depth > _MOST_JUMPS:
        raise HostError(
            f"the jump hosts of ~/.ssh/config lead in a circle, through {jumps}",
            "give the jump host an entry of its own there, with `ProxyJump none`",
            host=way.name,
        )
    connection, via = None, ""
    for jump in jumps.split(","):
        target = parse_place(jump.strip(), way.name)
        connection = await _login(way, target, depth, connection, via)
        via = target.host
    return connection, via


def _own_files(target: Target) -> dict[str, object]:
    if target.known_hosts is None or target.client_key is None:
        return {}
    return {
        "known_hosts": target.known_hosts,
        "client_keys": [asyncssh.import_private_key(target.client_key)],
        "agent_path": None,
    }
