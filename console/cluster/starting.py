"""Starts a deployed ring and waits until it serves. A start that fails leaves nothing running."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from console.cluster.deploy import start_agent
from console.cluster.host import Host
from console.cluster.hosts import Hosts
from console.cluster.steps import raise_first
from console.cluster.stop import reap
from console.cluster.watch import Watch


async def start_agents(hosts: Hosts, watch: Watch, members: Sequence[Host]) -> None:
    """On all ``members`` of the ring. Raises the first agent's own reason."""
    async with _or_clear_away(hosts, watch):
        problems = await hosts.each("start", lambda host: start_agent(host, hosts.profile.name), members)
        raise_first(problems)


async def until_serving(hosts: Hosts, watch: Watch, members: Sequence[Host]) -> None:
    """Emits what happens meanwhile. Raises the ring's failure."""
    async with _or_clear_away(hosts, watch):
        await watch.serving(members)


@asynccontextmanager
async def _or_clear_away(hosts: Hosts, watch: Watch) -> AsyncGenerator[None, None]:
    """When what is done within fails or is broken off, nothing of the ring stays running."""
    try:
        yield
    except BaseException:
        await asyncio.shield(_clear_away(hosts, watch))
        raise


async def _clear_away(hosts: Hosts, watch: Watch) -> None:
    await watch.last_words()
    await hosts.over(lambda host: reap(host, hosts.profile.name))
