"""The operator's verbs over one profile's hosts: `console.ports.Cluster`, over whatever connects them.

Each verb goes over all hosts at once and lets every host finish its step, so that one bad host does
not hide what the others have to say; then the first failure in rank order is raised.
"""

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol

from msgspec import structs

from console.chat import stream_chat
from console.cluster.actions import Told
from console.cluster.api_key import have_key, read_key, replace_key
from console.cluster.boot import not_at_boot, start_at_boot
from console.cluster.deploy import deployments, run_folder, start_agent, write_run
from console.cluster.facts import gather_facts
from console.cluster.hold import deployed_by, hold, operator_name
from console.cluster.host import Host
from console.cluster.links import Note, notes
from console.cluster.links_probe import probe
from console.cluster.measure import Speeds, measure, measured_by
from console.cluster.model import ring_dtype, same_model
from console.cluster.prepare import Preparation, differs, listed, own_version
from console.cluster.provision import Prepared
from console.cluster.steps import emit_for, host_step, together
from console.cluster.stop import clear_prefixes, purge_home, reap
from console.cluster.versions import deployed_version
from console.cluster.watch import Watch
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from console.ports import ChatDelta, ChatMessage, Confirm, Emit, Setup, refuse
from ringcore.planning.plan import make_plan
from ringcore.planning.seats import seated
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import MlxringError, NotRunning, RingError
from ringcore.spec.events import HostStep, HostStepName, Level, LogLine
from ringcore.spec.facts import HostFacts, Measured
from ringcore.spec.plan import Plan
from ringcore.spec.profile import DEMO_MODEL, HostOptions, Profile

Progress = Callable[[float, str], None]
MakeModel = Callable[[Progress], Awaitable[str]]


class Connector(Protocol):
    """Whoever opens connections (SSH, or embedded servers for ``local`` hosts)."""

    async def connect(self, options: HostOptions) -> Host: ...

    async def close(self) -> None: ...


class Operator:
    """See `console.ports.Cluster`. ``environment`` is where memory overrides are looked up. ``make_model``
    gives the folder of the demo model, made on first use. ``weights`` are those of ``profile``. ``setup``,
    ``confirm`` and ``speeds`` (what was measured before) may be replaced before a verb begins."""

    def __init__(
        self,
        profile: Profile,
        connector: Connector,
        emit: Emit,
        make_model: MakeModel,
        wheelhouse: Wheelhouse,
        weights: Weights,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.profile = profile
        self.facts: dict[str, HostFacts] = {}
        self.setup = Setup()
        self.confirm: Confirm = refuse
        self.speeds: Speeds | None = None
        self.take_over = False  # from an operator who is at work
        self._connector = connector
        self._emit = emit
        self._make_model = make_model
        self._wheelhouse = wheelhouse
        self._environment = environment
        self._card: ModelCard | None = None
        self._hosts: dict[str, Host] = {}
        self._changing = asyncio.Lock()  # one verb at a time here, and one operator at a time there
        self._running: set[str] = set()  # hosts where the ring ran when the verb began
        self._prepared: dict[str, Prepared] = {}
        self._paths: dict[str, str] = {}
        self._weights = weights
        self._placing: Plan | None = None  # by which weights were placed last
        self._watch = Watch(profile.name, profile.leader.name, emit)

    # verbs --------------------------------------------------------------------------------------

    async def check(self) -> tuple[HostFacts, ...]:
        """Reach every host and read its facts; changes nothing. Those that answered are in ``facts``."""
        return await self._know(await self._reach_those_that_answer())

    async def measure(self) -> dict[str, Measured]:
        """How fast each host proves to be now, by name; remembered for later plans where it counts."""
        await self.check()
        by = measured_by(self.profile)
        found: dict[str, Measured] = {}

        async def one(host: Host) -> None:
            found[host.options.name] = await measure(host, self.facts[host.options.name])

        _raise_first(await self._each("facts", one, [self._hosts[name] for name in set(by.values())]))
        for options in self.profile.hosts:
            speed = found[options.name] = found[by[options.name]]
            if self.speeds is not None:
                self.speeds.remember(options, self.facts[options.name], speed)
                self.facts[options.name] = self.speeds.known(options, self.facts[options.name])
        return found

    async def check_network(self) -> None:
        """After `check`: can the hosts reach each other on the ring's ports? Not asked while the ring has
        them."""
        if not any(self.profile.name in fact.rings for fact in self.facts.values()):
            await self._probe(self.profile)

    @property
    def network_notes(self) -> tuple[Note, ...]:
        """What the facts say of the links that the ring would use."""
        return notes(self.profile, self.facts)

    async def plan(self) -> Plan:
        await self.check()
        self._tell_notes()
        plan = await self._make_plan()
        for stage in plan.stages:
            if text := self._weights.intended(stage):
                self._note(stage.host, f"{stage.host} {text}", "INFO")
        return plan

    async def provision(self) -> None:
        async with self._at_work() as problems:
            await self._know(problems)
            preparation = self._preparation()
            await self._prepare(preparation, await preparation.look(list(self._hosts.values())))

    async def intended(self) -> dict[str, tuple[Told, ...]]:
        """By host, what `provision` would do there; changes nothing."""
        await self.check()
        preparation = self._preparation()
        problems = await preparation.look(list(self._hosts.values()))
        preparation.leave()
        _raise_first(problems)
        return preparation.told()

    async def retry(self, name: str, failed: HostStepName) -> None:
        old = self._hosts.pop(name, None)
        if old is not None:
            with suppress(MlxringError):
                await old.close()  # it may be what failed
        options = next(options for options in self.profile.hosts if options.name == name)
        host = await self._connected(options)
        self._in_rank_order()
        async with host_step(self._emit, name, "facts"):
            await self._read_facts(host)
        if failed in ("reach", "facts"):
            return
        async with self._held([host]):
            preparation = self._preparation()
            problems = await preparation.look([host])
            problems += await preparation.agree(refuse if problems else self.confirm)
            prepared, more = await preparation.do()
            self._prepared |= prepared
            _raise_first(problems + more)
            if failed == "weights":
                await self._place_again(host)

    async def deploy(self) -> Plan:
        async with self._at_work() as problems:
            return await self._deploy_all(problems)

    async def start(self) -> None:
        async with self._at_work() as problems:
            plan = await self._deploy_all(problems)
            hosts = [self._hosts[stage.host] for stage in plan.stages]
            async with self._or_clear_away():
                problems = await self._each("start", lambda host: start_agent(host, self.profile.name), hosts)
                _raise_first(problems)
        async with self._or_clear_away():  # it runs: whoever comes now is told by that
            await self._watch.serving(hosts)

    async def stop(self, *, boot: bool = False) -> None:
        """``boot``: nor do hosts start it when they boot."""
        async with self._at_work() as problems:
            await self._end(problems, boot=boot)

    async def purge(self) -> None:
        """Stop, then remove everything of ours on every host."""
        async with self._at_work() as problems:
            await self._end(problems, boot=True)
            _raise_first(await self._over_hosts(purge_home))

    async def replay(self) -> bool:
        """Emit what every host's journal holds now. True while the leader's agent runs.

        Raises the first failure to reach a host after the others have told what they know.
        """
        problems = await self._reach_those_that_answer()
        running = await self._watch.replay(list(self._hosts.values()))
        _raise_first(problems)
        return running

    async def forget_prefixes(self) -> bool:
        """Have nothing kept of earlier sequences: a running ring is told to (True), of one that does not run
        the files are removed. Raises the first failure."""
        _raise_first(await self._reach_those_that_answer())
        if await self._watch.forget(await self._connected(self.profile.leader)):
            return True
        _raise_first(await self._over_hosts(lambda host: clear_prefixes(host, self.profile.name)))
        return False

    async def follow(self) -> None:
        problems = await self._reach_those_that_answer()
        _raise_first(problems + await self._watch.follow(list(self._hosts.values())))

    async def api(self) -> str:
        """Where the ring's HTTP API is on this machine: a port that SSH forwards to the leader."""
        leader = await self._connected(self.profile.leader)
        api = self.profile.api
        return f"{api.scheme}://127.0.0.1:{await leader.forward(api.port)}"

    async def api_key(self) -> str:
        """What the API wants to hear; "" where it asks for nothing."""
        if not self.profile.api.asks_key:
            return ""
        return await read_key(await self._connected(self.profile.leader), self.profile)

    async def new_api_key(self) -> str:
        """Replaces the key. A running ring goes on with the old one."""
        return await replace_key(await self._connected(self.profile.leader), self.profile)

    async def chat(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ChatDelta, None]:
        stream = stream_chat(await self.api(), messages, key=await self.api_key())
        try:
            async for delta in stream:
                yield delta
        finally:
            await stream.aclose()

    async def close(self) -> None:
        self._watch.leave()
        for host in self._hosts.values():
            with suppress(MlxringError):
                await host.close()
        self._hosts.clear()
        await self._connector.close()

    # steps --------------------------------------------------------------------------------------

    async def _connected(self, options: HostOptions) -> Host:
        host = self._hosts.get(options.name)
        if host is None:
            async with host_step(self._emit, options.name, "reach", command=f"ssh {options.ssh}"):
                host = await self._connector.connect(options)
            self._hosts[options.name] = host
        return host

    async def _reach_those_that_answer(self) -> list[MlxringError]:
        problems = await together(self._connected(options) for options in self.profile.hosts)
        self._in_rank_order()
        return problems

    def _in_rank_order(self) -> None:
        order = [options.name for options in self.profile.hosts]
        self._hosts = dict(sorted(self._hosts.items(), key=lambda item: order.index(item[0])))

    @asynccontextmanager
    async def _at_work(self) -> AsyncGenerator[list[MlxringError], None]:
        """Reach the hosts and keep others from changing them meanwhile; what could not be reached."""
        problems = await self._reach_those_that_answer()
        async with self._held(list(self._hosts.values())):
            yield problems

    @asynccontextmanager
    async def _held(self, hosts: Sequence[Host]) -> AsyncGenerator[None, None]:
        async with self._changing, hold(hosts, self.profile.name, take=self.take_over) as held:
            self._running = held.running
            yield

    @asynccontextmanager
    async def _or_clear_away(self) -> AsyncGenerator[None, None]:
        """When what is done within fails, nothing of the ring stays running."""
        try:
            yield
        except BaseException:
            await asyncio.shield(self._clear_away())
            raise

    async def _know(self, problems: list[MlxringError]) -> tuple[HostFacts, ...]:
        problems += await self._each("facts", self._read_facts)
        _raise_first(problems)
        return tuple(self.facts[options.name] for options in self.profile.hosts)

    async def _deploy_all(self, problems: list[MlxringError]) -> Plan:
        await self._know(problems)
        agreed = await self._make_way()
        self._tell_notes()
        plan = await self._make_plan()
        await self._probe(seated(self.profile, plan))
        preparation = self._preparation()
        problems = await preparation.look(list(self._hosts.values()))
        if not agreed:
            problems += await preparation.agree(refuse if problems else self.confirm)
        await self._prepare(preparation, problems)
        await self._place(plan)
        await self._deploy(plan, preparation)
        return plan

    async def _end(self, problems: list[MlxringError], *, boot: bool) -> None:
        later: list[MlxringError] = []
        try:
            await self._end_ring(problems)
        finally:  # also where a host was not reached: those that were must not start it again
            if boot:
                later = await self._over_hosts(lambda host: not_at_boot(host, self.profile.name))
        _raise_first(later)

    async def _end_ring(self, problems: list[MlxringError]) -> None:
        await self._see_that_it_may_end()
        self._watch.leave()
        for host in self._hosts.values():  # the leader first: it ends the others in order
            try:
                await self._watch.stop(host)
            except TimeoutError:
                continue  # what hangs is reaped below
            except MlxringError as error:
                problems.append(error)
        problems += await self._over_hosts(lambda host: reap(host, self.profile.name))
        _raise_first(problems)

    async def _see_that_it_may_end(self) -> None:
        """A ring that somebody else runs is not ended by mistake."""
        host = next((host for name, host in self._hosts.items() if name in self._running), None)
        if host is None:
            return
        holder = await deployed_by(host, self.profile.name)
        if holder is None or holder.who == operator_name() or self.take_over:
            return
        if not await self.confirm(f"{holder} started the ring {self.profile.name}. End it?"):
            raise RingError(
                f"the ring {self.profile.name} was started by another operator: {holder}",
                "watch it with `mlxring PROFILE`; to end it all the same: `mlxring down PROFILE --yes`",
                host=host.options.name,
            )

    async def _over_hosts(
        self, act: Callable[[Host], Awaitable[object]], hosts: Sequence[Host] | None = None
    ) -> list[MlxringError]:
        """On all hosts, or on these."""
        return await together(act(host) for host in (self._hosts.values() if hosts is None else hosts))

    async def _each(
        self,
        step: HostStepName,
        act: Callable[[Host], Awaitable[object]],
        hosts: Sequence[Host] | None = None,
    ) -> list[MlxringError]:
        async def one(host: Host) -> None:
            async with host_step(self._emit, host.options.name, step):
                await act(host)

        return await self._over_hosts(one, hosts)

    async def _read_facts(self, host: Host) -> None:
        facts = await gather_facts(host)
        self.facts[host.options.name] = self.speeds.known(host.options, facts) if self.speeds else facts

    async def _make_way(self) -> bool:
        """Refuses where the ring runs. True: another ringcore ran it, and the operator had it ended."""
        ring = self.profile.name
        running = [host for name, host in self._hosts.items() if ring in self.facts[name].rings]
        if not running:
            return False
        found = {host.options.name: await deployed_version(host, ring) for host in running}
        other = {
            host.options.name: version
            for host in running
            if (version := found[host.options.name]) is not None and differs(version, host.options)
        }
        question = f"The ring {ring} runs, and {listed(other)}. End it and start it with {own_version()}?"
        if other and await self.confirm(question):
            await self._end_ring([])
            self.facts = {
                name: structs.replace(facts, rings=tuple(other for other in facts.rings if other != ring))
                for name, facts in self.facts.items()
            }
            return True
        name, version = next(iter(other.items()), (running[0].options.name, None))
        if version is None:
            holder = await deployed_by(running[0], ring)
            raise RingError(
                f"the ring {ring} already runs here{f'; started by {holder}' if holder else ''}",
                "open it with `mlxring PROFILE`, or end it with `mlxring down PROFILE`",
                host=name,
            )
        raise RingError(
            f"the ring {ring} already runs here with ringcore {version}; this console has {own_version()}",
            "open it as it is with `mlxring PROFILE`, or put this console's in its place: "
            "`mlxring up PROFILE --yes`",
            host=name,
        )

    def _preparation(self) -> Preparation:
        wheelhouse = self._wheelhouse if self.setup.offline else None
        return Preparation(self.profile.name, self.facts, self._emit, wheelhouse)

    async def _prepare(self, preparation: Preparation, problems: list[MlxringError]) -> None:
        """Whatever can be made ready is, so that one bad host does not cost the others' time again."""
        self._prepared, more = await preparation.do()
        _raise_first(problems + more)

    async def _make_plan(self) -> Plan:
        facts = [self.facts[options.name] for options in self.profile.hosts]
        dtype = ring_dtype(self.profile, facts)
        own_model = await self._own_model()
        cards = {}

        async def one(host: Host) -> None:
            name = host.options.name
            cards[name] = await self._weights.card(host, self.facts[name], own_model, dtype)

        _raise_first(await self._each("weights", one))
        self._card = same_model([(options.name, cards[options.name]) for options in self.profile.hosts])
        return self.planned_for(self.profile)

    def planned_for(self, profile: Profile) -> Plan:
        """The plan of another profile over the same hosts and model, which `plan` has read. Pure."""
        assert self._card is not None, "plan first"
        facts = [self.facts[options.name] for options in profile.hosts]
        return make_plan(self._card, profile, facts, self._environment)

    async def _own_model(self) -> str:
        """Folder of the demo model where the profile asks for it, else ""."""
        if self.profile.model != DEMO_MODEL:
            return ""
        leader = self.profile.leader.name

        def progress(share: float, text: str) -> None:
            step = HostStep(step="weights", status="active", progress=share, detail=text)
            emit_for(self._emit, leader, step)

        async with host_step(self._emit, leader, "weights"):
            return await self._make_model(progress)

    def _tell_notes(self) -> None:
        for note in self.network_notes:
            self._note(note.host, str(note), "WARNING")

    def _note(self, host: str, text: str, level: Level) -> None:
        emit_for(self._emit, host, LogLine(source="console", level=level, text=text))

    async def _probe(self, ring: Profile) -> None:
        problems = await probe(ring, self._hosts, self.facts)

        async def tell(problem: MlxringError) -> None:
            async with host_step(
                self._emit, problem.failure.host, "facts", command="trying the ring's ports"
            ):
                raise problem

        _raise_first(await together(tell(problem) for problem in problems))

    async def _place_again(self, host: Host) -> None:
        """For one host. Before all have a plan, whether there is a model for it at all."""
        name, plan = host.options.name, self._placing
        own_model = await self._own_model()
        async with host_step(self._emit, name, "weights"):
            dtype = ring_dtype(self.profile, list(self.facts.values()))
            await self._weights.card(host, self.facts[name], own_model, dtype)
            if plan is not None and any(stage.host == name for stage in plan.stages):
                self._paths[name] = await self._weights.place(host, self._prepared[name], plan)

    async def _place(self, plan: Plan) -> None:
        self._placing = plan

        async def one(host: Host) -> None:
            name = host.options.name
            self._paths[name] = await self._weights.place(host, self._prepared[name], plan)

        hosts = [self._hosts[stage.host] for stage in plan.stages]
        _raise_first(await self._each("weights", one, hosts))

    async def _deploy(self, plan: Plan, preparation: Preparation) -> None:
        ring = seated(self.profile, plan)
        paths = tuple(self._paths[options.name] for options in ring.hosts)
        secret = secrets.token_hex(32)
        copies = deployments(ring, plan, paths, uuid.uuid4().hex)
        by_name = {copy.me.host: copy for copy in copies}

        async def one(host: Host) -> None:
            name = host.options.name
            if by_name[name].is_leader and self.profile.api.asks_key:
                await have_key(host, self.profile)
            await write_run(host, self._prepared[name], by_name[name], secret)
            await preparation.remove_unused(host)
            if self.setup.boot:
                run = run_folder(self._prepared[name], self.profile.name)
                await start_at_boot(host, self.facts[name], self.profile.name, run)

        _raise_first(await self._each("deploy", one, [self._hosts[name] for name in by_name]))

    async def _clear_away(self) -> None:
        """After a start that failed: nothing of it stays running."""
        await self._watch.last_words()
        await self._over_hosts(lambda host: reap(host, self.profile.name))


def _raise_first(problems: Sequence[MlxringError]) -> None:
    if problems:
        raise problems[0]


def not_running(profile: Profile) -> NotRunning:
    """The error of a command that needs a ring which does not run."""
    return NotRunning(
        f"the ring {profile.name} does not run",
        f"start it with `mlxring up {profile.path or 'PROFILE'}`",
        host=profile.leader.name,
    )
