"""Logs in at an SSH server the way OpenSSH does: configuration, known hosts, keys, agent. Needs asyncssh."""

import asyncio

import asyncssh

from console.cluster.ssh_errors import BROKEN, Witness, explain, known_hosts_files
from console.cluster.target import Target
from ringcore.spec.errors import HostError


async def login(name: str, target: Target, timeout: float) -> asyncssh.SSHClientConnection:
    """A connection that is logged in. Raises `HostError` naming host ``name``, within ``timeout`` seconds.

    The host key is verified always, whatever ``~/.ssh/config`` says about it.
    """
    from console.cluster.ssh import KEEPALIVE_COUNT, KEEPALIVE_SECONDS

    witness = Witness()
    options: asyncssh.SSHClientConnectionOptions | None = None
    try:
        async with asyncio.timeout(timeout):
            options = made = await asyncssh.SSHClientConnectionOptions.construct(
                host=target.host,
                port=target.port or (),
                username=target.user or (),
                client_factory=lambda: witness,
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
            return await asyncssh.connect(
                target.host, target.port or (), options=made, known_hosts=known_hosts_files(made)
            )
    except (*BROKEN, TimeoutError) as error:
        raise explain(error, name, target, witness, options, timeout) from None
    except ValueError as error:  # a configuration, key or known_hosts file that cannot be read
        raise HostError(f"an SSH file is wrong: {error}", "correct it under ~/.ssh", host=name) from None


def _own_files(target: Target) -> dict[str, object]:
    if target.known_hosts is None or target.client_key is None:
        return {}
    return {
        "config": None,
        "known_hosts": target.known_hosts,
        "client_keys": [asyncssh.import_private_key(target.client_key)],
        "agent_path": None,
    }
