"""The operator's verbs over one profile's hosts: `console.ports.Cluster`, over whatever connects them.

Says what each verb consists of, in which order, and keeps others from changing the hosts meanwhile. How it is
done is `hosts`', `planner`'s, `readiness`', `starting`'s, `ending`'s and `watch`'s.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from console.chat import stream_chat
from console.cluster.actions import Told
from console.cluster.api_key import read_key, replace_key
from console.cluster.ending import Ending
from console.cluster.hold import hold
from console.cluster.host import Host
from console.cluster.hosts import Connector, Hosts
from console.cluster.links import Note, notes
from console.cluster.links_probe import try_links
from console.cluster.measure import Speeds
from console.cluster.planner import MakeModel, Planner
from console.cluster.prefixes import There
from console.cluster.prefixes_archive import Advance
from console.cluster.prefixes_export import Exported, export, look_at_all
from console.cluster.prefixes_import import Imported, import_archive
from console.cluster.prefixes_read import Archive
from console.cluster.quoting import quote
from console.cluster.readiness import Readiness
from console.cluster.starting import start_agents, until_serving
from console.cluster.steps import emit_for, host_step, raise_first
from console.cluster.stop import clear_prefixes
from console.cluster.watch import Watch
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from console.ports import ChatDelta, ChatMessage, Confirm, Emit, Setup, refuse
from ringcore.planning.seats import seated
from ringcore.spec.errors import MlxringError, NotRunning
from ringcore.spec.events import HostStepName, Level, LogLine
from ringcore.spec.facts import HostFacts, Measured
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile


class Operator:
    """See `console.ports.Cluster`. ``environment`` is where memory overrides are looked up. ``make_model``
    gives the folder of the demo model, made on first use. ``weights`` are those of ``profile``, ``speeds``
    what was measured before. ``setup`` and ``confirm`` may be replaced before a verb begins.

    Every verb raises the first failure in rank order, after all hosts have finished their step."""

    def __init__(
        self,
        profile: Profile,
        connector: Connector,
        emit: Emit,
        make_model: MakeModel,
        wheelhouse: Wheelhouse,
        weights: Weights,
        speeds: Speeds | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.setup = Setup()
        self.confirm: Confirm = refuse
        self.take_over = False  # from an operator who is at work
        self._hosts = Hosts(profile, connector, emit, speeds)
        self._weights = weights
        self._planner = Planner(self._hosts, weights, make_model, environment)
        self._readiness = Readiness(self._hosts, weights, wheelhouse)
        self._watch = Watch(profile.name, profile.leader.name, emit)
        self._changing = asyncio.Lock()  # one verb at a time here, and one operator at a time there

    @property
    def profile(self) -> Profile:
        return self._hosts.profile

    @profile.setter
    def profile(self, profile: Profile) -> None:
        self._hosts.profile = profile

    @property
    def facts(self) -> dict[str, HostFacts]:
        return self._hosts.facts

    # looking ------------------------------------------------------------------------------------

    async def check(self) -> tuple[HostFacts, ...]:
        """Reach every host and read its facts; changes nothing. Those that answered are in ``facts``."""
        return await self._hosts.know(await self._hosts.reach())

    async def measure(self) -> dict[str, Measured]:
        """How fast each host proves to be now, by name; remembered for later plans where it counts."""
        await self.check()
        return await self._hosts.measure()

    async def check_network(self) -> None:
        """After `check`: can the hosts reach each other on the ring's ports? Not asked while the ring has
        them."""
        if not any(self.profile.name in fact.rings for fact in self.facts.values()):
            await try_links(self._hosts, self.profile)

    @property
    def network_notes(self) -> tuple[Note, ...]:
        """What the facts say of the links that the ring would use."""
        return notes(self.profile, self.facts)

    async def plan(self) -> Plan:
        await self.check()
        self._tell_notes()
        plan = await self._planner.make()
        for stage in plan.stages:
            if text := self._weights.intended(stage):
                self._note(stage.host, f"{stage.host} {text}", "INFO")
        return plan

    def planned_for(self, profile: Profile) -> Plan:
        """The plan of another profile over the same hosts and model, which `plan` has read. Pure."""
        return self._planner.planned_for(profile)

    async def intended(self) -> dict[str, tuple[Told, ...]]:
        """By host, what `provision` would do there; changes nothing."""
        await self.check()
        return await self._readiness.intended(self.setup)

    # changing -----------------------------------------------------------------------------------

    async def provision(self) -> None:
        problems = await self._hosts.reach()
        async with self._held():
            await self._hosts.know(problems)
            await self._readiness.prepare(self.setup)

    async def retry(self, name: str, failed: HostStepName) -> None:
        host = await self._hosts.again(name)
        if failed in ("reach", "facts"):
            return
        async with self._held(host):
            await self._readiness.prepare(self.setup, confirm=self.confirm, only=host)
            if failed == "weights":
                own_model = await self._planner.own_model()
                async with host_step(self._hosts.emit, name, "weights"):
                    await self._planner.card(host, own_model)
                    await self._readiness.place_again(host)

    async def deploy(self) -> Plan:
        problems = await self._hosts.reach()
        async with self._held() as ending:
            return await self._deploy(problems, ending)

    async def start(self) -> None:
        problems = await self._hosts.reach()
        async with self._held() as ending:
            plan = await self._deploy(problems, ending)
            members = self._hosts.of([stage.host for stage in plan.stages])
            await start_agents(self._hosts, self._watch, members)
        # it runs: whoever comes now is told by that
        await until_serving(self._hosts, self._watch, members)

    async def stop(self, *, boot: bool = False) -> None:
        """``boot``: nor do hosts start it when they boot."""
        problems = await self._hosts.reach()
        async with self._held() as ending:
            await ending.end(problems, boot=boot)

    async def purge(self) -> None:
        """Stop, then remove everything of ours on every host."""
        problems = await self._hosts.reach()
        async with self._held() as ending:
            await ending.purge(problems)

    async def forget_prefixes(self) -> bool:
        """Have nothing kept of earlier sequences: a running ring is told to (True), of one that does not run
        the files are removed. Raises the first failure."""
        raise_first(await self._hosts.reach())
        async with self._held():
            if await self._watch.forget(await self._hosts.leader()):
                return True
            raise_first(await self._hosts.over(lambda host: clear_prefixes(host, self.profile.name)))
            return False

    async def import_prefixes(self, file: Path, advance: Advance) -> Imported:
        """Put what `export_prefixes` wrote, of this ring or of another that computes the same, on the hosts.
        Refused while the ring runs. All of the file is looked at before any host is reached."""
        archive = await asyncio.to_thread(Archive.open, file)
        try:
            payload = await asyncio.to_thread(archive.verify)
            raise_first(await self._hosts.reach())
            async with self._held() as ending:
                ending.see_that_it_does_not_run()
                return await import_archive(self._hosts, archive, payload, str(file), advance)
        finally:
            archive.close()

    # what is kept of earlier sequences ----------------------------------------------------------

    async def kept(self) -> dict[str, There]:
        """What lies in files on each host, in rank order; changes nothing. Raises the first failure."""
        raise_first(await self._hosts.reach())
        return await look_at_all(self._hosts)

    async def export_prefixes(self, file: Path, advance: Advance) -> Exported:
        """Collect that into one file here, whether or not the ring runs. Raises the first failure."""
        raise_first(await self._hosts.reach())
        return await export(self._hosts, file, advance)

    # following, asking --------------------------------------------------------------------------

    async def replay(self) -> bool:
        """Emit what every host's journal holds now. True while the leader's agent runs.

        Raises the first failure to reach a host after the others have told what they know.
        """
        problems = await self._hosts.reach()
        running = await self._watch.replay([*self._hosts.reached.values()])
        raise_first(problems)
        return running

    async def follow(self) -> None:
        problems = await self._hosts.reach()
        raise_first(problems + await self._watch.follow([*self._hosts.reached.values()]))

    async def api(self) -> str:
        """Where the ring's HTTP API is on this machine: a port that SSH forwards to the leader."""
        leader = await self._hosts.leader()
        api = self.profile.api
        return f"{api.scheme}://127.0.0.1:{await leader.forward(api.port)}"

    async def api_key(self) -> str:
        """What the API wants to hear; "" where it asks for nothing."""
        if not self.profile.api.asks_key:
            return ""
        return await read_key(await self._hosts.leader(), self.profile)

    async def new_api_key(self) -> str:
        """Replaces the key. A running ring goes on with the old one."""
        return await replace_key(await self._hosts.leader(), self.profile)

    async def chat(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ChatDelta, None]:
        stream = stream_chat(await self.api(), messages, key=await self.api_key())
        try:
            async for delta in stream:
                yield delta
        finally:
            await stream.aclose()

    async def close(self) -> None:
        self._watch.leave()
        await self._hosts.close()

    # inside -------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _held(self, only: Host | None = None) -> AsyncGenerator[Ending, None]:
        """Keep others from changing the hosts that were reached, or ``only`` one, meanwhile."""
        hosts = [*self._hosts.reached.values()] if only is None else [only]
        async with self._changing, hold(hosts, self.profile.name, take=self.take_over) as held:
            yield Ending(self._hosts, self._watch, held.running, self.confirm, take_over=self.take_over)

    async def _deploy(self, problems: Sequence[MlxringError], ending: Ending) -> Plan:
        """All that is missing until agents can be started."""
        await self._hosts.know(problems)
        agreed = await ending.make_way()
        self._tell_notes()
        plan = await self._planner.make()
        await try_links(self._hosts, seated(self.profile, plan))
        preparation = await self._readiness.prepare(self.setup, confirm=None if agreed else self.confirm)
        await self._readiness.place(plan)
        await self._readiness.deploy(plan, self.setup, preparation)
        return plan

    def _tell_notes(self) -> None:
        for note in self.network_notes:
            self._note(note.host, str(note), "WARNING")

    def _note(self, host: str, text: str, level: Level) -> None:
        emit_for(self._hosts.emit, host, LogLine(source="console", level=level, text=text))


def not_running(profile: Profile) -> NotRunning:
    """The error of a command that needs a ring which does not run."""
    return NotRunning(
        f"the ring {profile.name} does not run",
        f"start it with `mlxring up {quote(profile.path or 'PROFILE')}`",
        host=profile.leader.name,
    )
