"""Hosts that are this machine: one SSH server each, in this process, on loopback, with a home of its own.

They are reached through the very code that reaches real hosts, host key check included. The servers end
with the console; what has detached itself (``setsid``) on such a host lives on, as it would on a real one.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from console.cluster.target import Target
from console.demo.cache import user_cache
from ringcore.spec.profile import HostOptions

if TYPE_CHECKING:
    from console.demo.server import EmbeddedServer

# what processes need here to reach a package index through this machine's proxy and certificates
_PASSED_ON = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "LANG", "LC_", "TMPDIR")
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy")


def hosts_root(ring: str) -> Path:
    """Where the homes of a ring's local hosts lie: in the user's cache folder."""
    return user_cache() / "mlxring" / "hosts" / ring


class EmbeddedHosts:
    """Starts the server of a host when it is first asked for. ``root/<host name>`` is that host's HOME."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._servers: dict[str, tuple[EmbeddedServer, Target]] = {}
        self._lock = asyncio.Lock()

    async def target(self, options: HostOptions) -> Target:
        """Where this host's server listens, and the keys to reach it with."""
        async with self._lock:
            if options.name not in self._servers:
                from console.demo.server import EmbeddedServer

                home = self._root / options.name
                home.mkdir(parents=True, exist_ok=True, mode=0o700)
                server = EmbeddedServer(home, environment(home))
                self._servers[options.name] = (server, await server.start())
            return self._servers[options.name][1]

    async def close(self) -> None:
        """Ends the servers and every process of their sessions."""
        servers = [server for server, _ in self._servers.values()]
        self._servers.clear()
        await asyncio.gather(*(server.close() for server in servers))


def environment(home: Path) -> dict[str, str]:
    """A login's environment; the console's own interpreter is found first, as it has the packages already."""
    passed = {
        key: value
        for key, value in os.environ.items()
        if key.startswith(_PASSED_ON) or key.lower() in _PROXIES
    }
    user = os.environ.get("USER") or home.name
    own = str(Path(sys.executable).parent)
    return passed | {
        "HOME": str(home),
        "PATH": f"{own}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "USER": user,
        "LOGNAME": user,
        "SHELL": "/bin/sh",
    }
