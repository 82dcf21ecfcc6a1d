"""A host that is this machine, behind a real SSH server on loopback, for tests of what is done to hosts."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil

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


def served(home: Path, env: dict[str, str] | None = None) -> EmbeddedServer:
    """The server alone, not started."""
    home.mkdir(parents=True, exist_ok=True)
    return EmbeddedServer(home, environment(home) if env is None else env)


@asynccontextmanager
async def reached(
    home: Path, what: HostOptions | None = None, env: dict[str, str] | None = None
) -> AsyncIterator[SshHost]:
    """A connection to a server that runs commands in ``home``."""
    server = served(home, env)
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


async def until(condition: Callable[[], object], within: float = 5) -> None:
    """Poll ``condition`` until it is true; `TimeoutError` after ``within`` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def gone(pid: int) -> bool:
    """The process has ended (a zombie has)."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
