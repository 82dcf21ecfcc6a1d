"""Ends a ring on all its hosts, where it may be: one that somebody else started is not ended by mistake.

Knows that nobody else changes the hosts meanwhile. Installs and starts nothing.
"""

from collections.abc import Sequence, Set

from msgspec import structs

from console.cluster.boot import not_at_boot
from console.cluster.hold import deployed_by, operator_name
from console.cluster.hosts import Hosts
from console.cluster.prepare import differs, listed, own_version
from console.cluster.quoting import quote
from console.cluster.steps import raise_first
from console.cluster.stop import purge_home, reap
from console.cluster.versions import deployed_version
from console.cluster.watch import Watch
from console.ports import Confirm
from ringcore.spec.errors import MlxringError, RingError


class Ending:
    """``running``: hosts, by name, where the ring ran when its hosts were taken hold of. ``confirm`` is asked
    before a ring is ended that is another operator's (not with ``take_over``) or another ringcore's."""

    def __init__(
        self, hosts: Hosts, watch: Watch, running: Set[str], confirm: Confirm, *, take_over: bool
    ) -> None:
        self._hosts = hosts
        self._watch = watch
        self.running = running
        self._confirm = confirm
        self._take_over = take_over
        self._path = quote(hosts.profile.path or "PROFILE")

    async def make_way(self) -> bool:
        """Refuses where the ring runs. True: another ringcore ran it, and the operator had it ended."""
        hosts, ring = self._hosts, self._hosts.profile.name
        running = [host for name, host in hosts.reached.items() if ring in hosts.facts[name].rings]
        if not running:
            return False
        found = {host.options.name: await deployed_version(host, ring) for host in running}
        other = {
            host.options.name: version
            for host in running
            if (version := found[host.options.name]) is not None and differs(version, host.options)
        }
        question = f"The ring {ring} runs, and {listed(other)}. End it and start it with {own_version()}?"
        if other and await self._confirm(question):
            await self._end_ring([])
            hosts.facts = {
                name: structs.replace(facts, rings=tuple(other for other in facts.rings if other != ring))
                for name, facts in hosts.facts.items()
            }
            return True
        name, version = next(iter(other.items()), (running[0].options.name, None))
        if version is None:
            holder = await deployed_by(running[0], ring)
            raise RingError(
                f"the ring {ring} already runs here{f'; started by {holder}' if holder else ''}",
                f"open it with `mlxring {self._path}`, or end it with `mlxring down {self._path}`",
                host=name,
            )
        raise RingError(
            f"the ring {ring} already runs here with ringcore {version}; this console has {own_version()}",
            f"open it as it is with `mlxring {self._path}`, or put this console's in its place: "
            f"`mlxring up {self._path} --yes`",
            host=name,
        )

    def see_that_it_does_not_run(self) -> None:
        """Raises `RingError` where it does."""
        for name in self.running:
            raise RingError(
                f"the ring {self._hosts.profile.name} runs here: it looks at files only when it starts",
                f"end it first with `mlxring down {self._path}`",
                host=name,
            )

    async def end(self, problems: Sequence[MlxringError], *, boot: bool) -> None:
        """End the ring on every host that was reached; then raise the first of ``problems``, met on the way
        there, or of its own. ``boot``: nor do hosts start it when they boot."""
        later: list[MlxringError] = []
        try:
            await self._end_ring(problems)
        finally:  # also where a host was not reached: those that were must not start it again
            if boot:
                later = await self._hosts.over(lambda host: not_at_boot(host, self._hosts.profile.name))
        raise_first(later)

    async def purge(self, problems: Sequence[MlxringError]) -> None:
        """`end`, then remove everything of ours."""
        await self.end(problems, boot=True)
        raise_first(await self._hosts.over(purge_home))

    async def _end_ring(self, before: Sequence[MlxringError]) -> None:
        await self._see_that_it_may_end()
        problems = list(before)
        self._watch.leave()
        for host in self._hosts.reached.values():  # the leader first: it ends the others in order
            try:
                await self._watch.stop(host)
            except TimeoutError:
                continue  # what hangs is reaped below
            except MlxringError as error:
                problems.append(error)
        problems += await self._hosts.over(lambda host: reap(host, self._hosts.profile.name))
        raise_first(problems)

    async def _see_that_it_may_end(self) -> None:
        """A ring that somebody else runs is not ended by mistake."""
        ring, reached = self._hosts.profile.name, self._hosts.reached
        host = next((host for name, host in reached.items() if name in self.running), None)
        if host is None:
            return
        holder = await deployed_by(host, ring)
        if holder is None or holder.who == operator_name() or self._take_over:
            return
        if not await self._confirm(f"{holder} started the ring {ring}. End it?"):
            raise RingError(
                f"the ring {ring} was started by another operator: {holder}",
                f"watch it with `mlxring {self._path}`; to end it all the same: "
                f"`mlxring down {self._path} --yes`",
                host=host.options.name,
            )
