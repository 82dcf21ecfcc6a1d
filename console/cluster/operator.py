"""The operator's verbs over one profile's hosts: `console.ports.Cluster`, over whatever connects them.

Each verb goes over all hosts at once and lets every host finish its step, so that one bad host does
not hide what the others have to say; then the first failure in rank order is raised.
"""

import asyncio
import os
import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from ringcore.planning.plan import make_plan

from console.chat import stream_chat
from console.cluster.deploy import deployments, start_agent, write_run
from console.cluster.facts import gather_facts
from console.cluster.follow import Follower
from console.cluster.host import Host
from console.cluster.model import model_path, read_card, ring_dtype, same_model
from console.cluster.provision import Prepared, provision
from console.cluster.steps import host_step
from console.cluster.stop import purge_home, reap
from console.ports import ChatDelta, ChatMessage, Emit
from ringcore.spec.deployment import Deployment
from ringcore.spec.errors import Failure, MlxringError, NotRunning, RingError
from ringcore.spec.events import Recorded, RingChanged
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import HostOptions, Profile


class Connector(Protocol):
    """Whoever opens connections (SSH, or embedded servers for ``local`` hosts)."""

    async def connect(self, options: HostOptions) -> Host: ...

    async def close(self) -> None: ...


class Operator:
    """See `console.ports.Cluster`. ``environment`` is where memory overrides are looked up."""

    def __init__(
        self,
        profile: Profile,
        connector: Connector,
        emit: Emit,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self.profile = profile
        self._connector = connector
        self._emit = emit
        self._environment = environment
        self._hosts: dict[str, Host] = {}
        self._facts: dict[str, HostFacts] = {}
        self._prepared: dict[str, Prepared] = {}
        self._paths: dict[str, str] = {}
        self._plan: Plan | None = None
        self._followers: dict[str, Follower] = {}
        self._following: dict[str, asyncio.Task[bool]] = {}
        self._ring: RingChanged | None = None
        self._ring_moved = asyncio.Event()

    # verbs --------------------------------------------------------------------------------------

    async def check(self) -> tuple[HostFacts, ...]:
        """Reach every host and read its facts; changes nothing."""
        await self._reach()
        return await self._gather()

    async def plan(self) -> Plan:
        await self._reach()
        await self._gather()
        await self._prepare()
        return await self._make_plan()

    async def provision(self) -> None:
        await self._reach()
        await self._gather()
        await self._prepare()

    async def deploy(self) -> None:
        await self.plan()
        await self._deploy()

    async def start(self) -> None:
        await self._reach()
        await self._gather()
        self._refuse_running()
        await self._prepare()
        await self._make_plan()
        await self._deploy()
        try:
            await self._each("start", lambda host: start_agent(host, self.profile.name))
            await self._serving()
        except BaseException:
            await asyncio.shield(self._clear_away())
            raise

    async def stop(self) -> None:
        problems = await self._reach_those_that_answer()
        leader_first = [self._follower(name) for name in self._hosts]
        for follower in leader_first:
            self._stop_following(follower.host.options.name)
            try:
                async with asyncio.timeout(15):
                    await follower.stop()
            except TimeoutError:
                continue  # what hangs is reaped below
            except MlxringError as error:
                problems.append(error)
        problems += await self._over_hosts(lambda host: reap(host, self.profile.name))
        if problems:
            raise problems[0]

    async def purge(self) -> None:
        """Stop, then remove everything of ours on every host."""
        await self.stop()
        problems = await self._over_hosts(purge_home)
        if problems:
            raise problems[0]

    async def replay(self) -> bool:
        """Emit what every host's journal holds now. True while the leader's agent runs."""
        await self._reach()
        running = await asyncio.gather(*(self._follower(name).replay() for name in self._hosts))
        return running[0]

    async def follow(self) -> None:
        problems = await self._reach_those_that_answer()
        tasks = [self._follow(name) for name in self._hosts]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            for name in self._hosts:
                self._stop_following(name)
        problems += [result for result in results if isinstance(result, MlxringError)]
        if problems:
            raise problems[0]

    async def chat(self, messages: Sequence[ChatMessage]) -> AsyncGenerator[ChatDelta, None]:
        base_url = await self.api()
        stream = stream_chat(base_url, messages)
        try:
            async for delta in stream:
                yield delta
        finally:
            await stream.aclose()

    async def api(self) -> str:
        """URL of the ring's API on this machine, through SSH."""
        leader = await self._connected(self.profile.leader)
        port = await leader.forward(self.profile.api.port)
        return f"http://127.0.0.1:{port}"

    async def close(self) -> None:
        for name in list(self._following):
            self._stop_following(name)
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

    async def _reach(self) -> None:
        problems = await self._reach_those_that_answer()
        if problems:
            raise problems[0]

    async def _reach_those_that_answer(self) -> list[MlxringError]:
        problems = await _all(self._connected(options) for options in self.profile.hosts)
        order = [options.name for options in self.profile.hosts]
        self._hosts = dict(sorted(self._hosts.items(), key=lambda item: order.index(item[0])))
        return problems

    async def _over_hosts(self, act: Callable[[Host], Awaitable[object]]) -> list[MlxringError]:
        return await _all(act(host) for host in self._hosts.values())

    async def _each(self, step: str, act: Callable[[Host], Awaitable[object]]) -> None:
        async def one(host: Host) -> None:
            async with host_step(self._emit, host.options.name, step):  # pyright: ignore[reportArgumentType]
                await act(host)

        problems = await self._over_hosts(one)
        if problems:
            raise problems[0]

    async def _gather(self) -> tuple[HostFacts, ...]:
        async def one(host: Host) -> None:
            self._facts[host.options.name] = await gather_facts(host)

        await self._each("facts", one)
        return tuple(self._facts[options.name] for options in self.profile.hosts)

    def _refuse_running(self) -> None:
        for options in self.profile.hosts:
            if self.profile.name in self._facts[options.name].rings:
                raise RingError(
                    f"the ring {self.profile.name} already runs here",
                    "open it with `mlxring PROFILE`, or end it with `mlxring down PROFILE`",
                    host=options.name,
                )

    async def _prepare(self) -> None:
        async def one(host: Host) -> None:
            name = host.options.name
            self._prepared[name] = await provision(host, self._facts[name], self._emit)

        problems = await self._over_hosts(one)
        if problems:
            raise problems[0]

    async def _make_plan(self) -> Plan:
        facts = [self._facts[options.name] for options in self.profile.hosts]
        dtype = ring_dtype(self.profile, facts)
        cards = {}

        async def one(host: Host) -> None:
            name = host.options.name
            path = model_path(self.profile, host.options, self._facts[name])
            cards[name] = await read_card(host, self._prepared[name], path, dtype)
            self._paths[name] = path

        await self._each("weights", one)
        card = same_model([(options.name, cards[options.name]) for options in self.profile.hosts])
        self._plan = make_plan(card, self.profile, facts, self._environment)
        return self._plan

    async def _deploy(self) -> None:
        assert self._plan is not None
        paths = tuple(self._paths[options.name] for options in self.profile.hosts)
        copies = deployments(self.profile, self._plan, paths, self._plan.model, uuid.uuid4().hex)
        secret = secrets.token_hex(32)
        by_name: dict[str, Deployment] = {copy.me.host: copy for copy in copies}

        async def one(host: Host) -> None:
            name = host.options.name
            await write_run(host, self._prepared[name], by_name[name], secret)

        await self._each("deploy", one)

    # the running ring ---------------------------------------------------------------------------

    def _follower(self, name: str) -> Follower:
        follower = self._followers.get(name)
        if follower is None or follower.host is not self._hosts[name]:
            fresh = Follower(self._hosts[name], self.profile.name, self._take)
            if follower is not None:
                fresh.run_id, fresh.seq = follower.run_id, follower.seq
            follower = self._followers[name] = fresh
        return follower

    def _follow(self, name: str) -> "asyncio.Task[bool]":
        task = self._following.get(name)
        if task is None or task.done():
            task = self._following[name] = asyncio.create_task(self._follower(name).follow())
        return task

    def _stop_following(self, name: str) -> None:
        task = self._following.pop(name, None)
        if task is not None:
            task.cancel()

    def _take(self, record: Recorded) -> None:
        if isinstance(record.event, RingChanged):
            self._ring = record.event
            self._ring_moved.set()
        self._emit(record)

    async def _serving(self) -> None:
        """Follow every host until the ring serves. Raises its failure otherwise."""
        self._ring = None
        tasks = [self._follow(name) for name in self._hosts]
        ended = asyncio.gather(*tasks, return_exceptions=True)
        while self._ring is None or self._ring.phase != "serving":
            self._ring_moved.clear()
            moved = asyncio.create_task(self._ring_moved.wait())
            await asyncio.wait({moved, ended}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            ring: RingChanged | None = self._ring
            if ring is not None and ring.phase == "failed":
                raise MlxringError.of(ring.failure or Failure(cause="the ring failed", exit_code=6))
            if ended.done() and (ring is None or ring.phase != "serving"):
                raise RingError(
                    "the agents ended before the ring served",
                    f"read `mlxring logs {self.profile.path or self.profile.name}`",
                )

    async def _clear_away(self) -> None:
        """After a start that failed: nothing of it stays running."""
        for name in list(self._following):
            with suppress(TimeoutError, asyncio.CancelledError, MlxringError):
                async with asyncio.timeout(3):  # the agents' last words
                    await asyncio.shield(self._following[name])
            self._stop_following(name)
        await self._over_hosts(lambda host: reap(host, self.profile.name))


async def _all(acts: "Sequence[Awaitable[object]] | object") -> list[MlxringError]:
    """Run all to their end; the `MlxringError` of those that failed, in order. Other errors are raised."""
    results = await asyncio.gather(*acts, return_exceptions=True)  # pyright: ignore
    problems: list[MlxringError] = []
    for result in results:
        if isinstance(result, MlxringError):
            problems.append(result)
        elif isinstance(result, BaseException):
            raise result
    return problems


def not_running(profile: Profile) -> NotRunning:
    """The error of a command that needs a ring which does not run."""
    return NotRunning(
        f"the ring {profile.name} does not run",
        f"start it with `mlxring up {profile.path or 'PROFILE'}`",
        host=profile.leader.name,
    )
