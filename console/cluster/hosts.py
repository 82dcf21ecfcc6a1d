"""The hosts of one profile: a connection to each, what they said of themselves, and steps over all of them.

A step goes over all hosts at once and lets every one finish, so that one bad host does not hide what the
others have to say. Knows nothing of plans, of what is installed, or of whether the ring runs.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from console.cluster.facts import gather_facts
from console.cluster.host import Host
from console.cluster.measure import Speeds, measure, measured_by
from console.cluster.steps import host_step, raise_first, together
from console.ports import Emit
from ringcore.spec.errors import MlxringError
from ringcore.spec.events import HostStepName
from ringcore.spec.facts import HostFacts, Measured
from ringcore.spec.profile import HostOptions, Profile

Act = Callable[[Host], Awaitable[object]]


class Connector(Protocol):
    """Whoever opens connections (SSH, or embedded servers for ``local`` hosts)."""

    async def connect(self, options: HostOptions) -> Host: ...

    async def close(self) -> None: ...


class Hosts:
    """``profile`` may be replaced by one of the same hosts. ``facts`` by name, of those that were read.
    ``speeds``: what was measured before, None where nothing is remembered."""

    def __init__(
        self, profile: Profile, connector: Connector, emit: Emit, speeds: Speeds | None = None
    ) -> None:
        self.profile = profile
        self.facts: dict[str, HostFacts] = {}
        self.emit = emit
        self._speeds = speeds
        self._connector = connector
        self._reached: dict[str, Host] = {}

    @property
    def reached(self) -> Mapping[str, Host]:
        """By name, in rank order once all were tried."""
        return self._reached

    def of(self, names: Sequence[str]) -> list[Host]:
        """Those, in that order; all were reached."""
        return [self._reached[name] for name in names]

    async def connected(self, options: HostOptions) -> Host:
        """A host, reached now if it was not before, or if that connection has ended."""
        host = self._reached.get(options.name)
        if host is None or host.lost:
            async with host_step(self.emit, options.name, "reach", command=f"ssh {options.ssh}"):
                host = await self._connector.connect(options)
            self._reached[options.name] = host
        return host

    async def leader(self) -> Host:
        return await self.connected(self.profile.leader)

    async def reach(self) -> list[MlxringError]:
        """Every host; why some do not answer, in rank order."""
        problems = await together(self.connected(options) for options in self.profile.hosts)
        self._in_rank_order()
        return problems

    async def again(self, name: str) -> Host:
        """One host over a new connection, with its facts read anew."""
        old = self._reached.pop(name, None)
        if old is not None:
            with suppress(MlxringError):
                await old.close()  # it may be what failed
        host = await self.connected(next(options for options in self.profile.hosts if options.name == name))
        self._in_rank_order()
        async with host_step(self.emit, name, "facts"):
            await self._read_facts(host)
        return host

    async def know(self, problems: Sequence[MlxringError]) -> tuple[HostFacts, ...]:
        """The facts of all hosts, in rank order. Raises the first of ``problems``, met before, or its own."""
        raise_first([*problems, *await self.each("facts", self._read_facts)])
        return tuple(self.facts[options.name] for options in self.profile.hosts)

    async def measure(self) -> dict[str, Measured]:
        """How fast each host proves to be now, after its facts were read; remembered where that counts."""
        by = measured_by(self.profile)
        found: dict[str, Measured] = {}

        async def one(host: Host) -> None:
            found[host.options.name] = await measure(host, self.facts[host.options.name])

        raise_first(await self.each("facts", one, self.of([*set(by.values())])))
        for options in self.profile.hosts:
            speed = found[options.name] = found[by[options.name]]
            if self._speeds is not None:
                self._speeds.remember(options, self.facts[options.name], speed)
                self.facts[options.name] = self._speeds.known(options, self.facts[options.name])
        return found

    async def over(self, act: Act, hosts: Sequence[Host] | None = None) -> list[MlxringError]:
        """On all that were reached, or on these; why it failed on some."""
        return await together(act(host) for host in (self._reached.values() if hosts is None else hosts))

    async def each(
        self, step: HostStepName, act: Act, hosts: Sequence[Host] | None = None
    ) -> list[MlxringError]:
        """`over`, told as a step of each host."""

        async def one(host: Host) -> None:
            async with host_step(self.emit, host.options.name, step):
                await act(host)

        return await self.over(one, hosts)

    async def close(self) -> None:
        for host in self._reached.values():
            with suppress(MlxringError):
                await host.close()
        self._reached.clear()
        await self._connector.close()

    def _in_rank_order(self) -> None:
        order = [options.name for options in self.profile.hosts]
        self._reached = dict(sorted(self._reached.items(), key=lambda item: order.index(item[0])))

    async def _read_facts(self, host: Host) -> None:
        facts = await gather_facts(host)
        self.facts[host.options.name] = self._speeds.known(host.options, facts) if self._speeds else facts
