"""A host that is this machine, behind a real SSH server on loopback, for tests of what is done to hosts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from console.cluster.ssh import SshHost, connect
from console.demo.hosts import environment
from console.demo.server import EmbeddedServer
from ringcore.spec.events import HostStep, Recorded
from ringcore.spec.profile import HostOptions


def options(**changes: str) -> HostOptions:
    return HostOptions(**({"name": "h1", "ssh": "local", "address": "127.0.0.1"} | changes))


def plain_environment(home: Path) -> dict[str, str]:
    """A login's environment that finds nothing of this interpreter's."""
    return environment(home) | {"PATH": "/usr/local/bin:/usr/bin:/bin"}


@asynccontextmanager
async def reached(
    home: Path, what: HostOptions | None = None, env: dict[str, str] | None = None
) -> AsyncIterator[SshHost]:
    """A connection to a server that runs commands in ``home``."""
    home.mkdir(parents=True, exist_ok=True)
    server = EmbeddedServer(home, environment(home) if env is None else env)
    host = None
    try:
        host = await connect(what or options(), await server.start())
        yield host
    finally:
        if host is not None:
            await host.close()
        await server.close()


class Heard:
    """Collects what is emitted."""

    def __init__(self) -> None:
        self.records: list[Recorded] = []

    def __call__(self, record: Recorded) -> None:
        self.records.append(record)

    @property
    def steps(self) -> list[HostStep]:
        return [record.event for record in self.records if isinstance(record.event, HostStep)]
