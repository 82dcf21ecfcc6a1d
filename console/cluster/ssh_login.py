"""Logs in at an SSH server the way OpenSSH does: configuration, known hosts, keys, agent, jump hosts.

Needs asyncssh. Jump hosts are logged in at here and not by asyncssh, so that each is held to the same rules
and named when it is the one that fails.
"""

import asyncio
from typing import NamedTuple

import asyncssh

from console.cluster.ssh_errors import BROKEN, Attempt, Witness, explain, known_hosts_files
from console.cluster.target import Target, parse_place
from ringcore.spec.errors import HostError

_MOST_JUMPS = 8


class _Limit(NamedTuple):
    """``end`` by the loop's clock."""

    end: float
    seconds: float


async def login(name: str, target: Target, timeout: float) -> asyncssh.SSHClientConnection:
    """A connection that is logged in. Raises `HostError` naming host ``name``, within ``timeout`` seconds.

    The host key is verified always, whatever ``~/.ssh/config`` says about it.
    """
    limit = _Limit(asyncio.get_running_loop().time() + timeout, timeout)
    return await _login(name, target, limit, 0, None, "")


async def _login(
    name: str,
    target: Target,
    limit: _Limit,
    depth: int,
    tunnel: asyncssh.SSHClientConnection | None,
    via: str,
) -> asyncssh.SSHClientConnection:
    """``depth``: how many logins wait for this one, which is a jump host's then. ``via`` names ``tunnel``."""
    from console.cluster.ssh import KEEPALIVE_COUNT, KEEPALIVE_SECONDS

    attempt = Attempt(name, target, Witness(), limit.seconds, is_jump=depth > 0, via=via)
    own_files = target.client_key is not None
    # () means the operator's own file; asyncssh reads none when nothing is said here
    config = None if own_files else ()
    try:
        async with asyncio.timeout_at(limit.end):
            attempt.options = made = await asyncssh.SSHClientConnectionOptions.construct(
                config=config,
                host=target.host,
                port=target.port or (),
                username=target.user or (),
                client_factory=lambda: attempt.witness,
                login_timeout=0,
                keepalive_interval=KEEPALIVE_SECONDS,
                keepalive_count_max=KEEPALIVE_COUNT,
                gss_kex=False,
                gss_auth=False,
                agent_forwarding=False,
                x11_forwarding=False,
                password_auth=False,
                kbdint_auth=False,
                **_own_files(target),
            )
        if tunnel is None and isinstance(made.tunnel, str):
            tunnel, via = await _through(name, made.tunnel, limit, depth + 1)
            attempt.via = via
        async with asyncio.timeout_at(limit.end):
            connection = await asyncssh.connect(
                target.host,
                target.port or (),
                config=config,
                options=made,
                tunnel=tunnel or (),
                known_hosts=known_hosts_files(made),
            )
    except BaseException as error:
        if tunnel is not None:
            tunnel.close()
        if isinstance(error, (*BROKEN, TimeoutError)):
            raise explain(error, attempt) from None
        if isinstance(error, ValueError):  # a configuration, key or known_hosts file that cannot be read
            raise HostError(f"an SSH file is wrong: {error}", "correct it under ~/.ssh", host=name) from None
        raise
    if tunnel is not None:
        connection.set_tunnel(tunnel)  # which ends with it
    return connection


async def _through(
    name: str, jumps: str, limit: _Limit, depth: int
) -> tuple[asyncssh.SSHClientConnection | None, str]:
    """A connection to the last of ``jumps`` (``[user@]host[:port],...``), and that one's name."""
    if depth > _MOST_JUMPS:
        raise HostError(
            f"the jump hosts of ~/.ssh/config lead in a circle, through {jumps}",
            "give the jump host an entry of its own there, with `ProxyJump none`",
            host=name,
        )
    connection, via = None, ""
    for jump in jumps.split(","):
        target = parse_place(jump.strip(), name)
        connection = await _login(name, target, limit, depth, connection, via)
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
