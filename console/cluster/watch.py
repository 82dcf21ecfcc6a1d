"""The running ring, seen through its journals: one follower a host, and what they say of the ring as a whole.

Knows which host is the leader; opens no connections of its own.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from console.cluster.follow import Follower
from console.cluster.host import Host
from console.ports import Emit
from ringcore.spec.errors import MlxringError, RingError
from ringcore.spec.events import Recorded, RingChanged

_LAST_WORDS_SECONDS = 4.0  # for agents to say how they ended
_STOP_SECONDS = 15.0
_CATCH_UP_SECONDS = 5.0
_MOST_GATHERED = 100_000  # some 100 MB


class Watch:
    """Followers keep their place in each journal across calls, and across new connections."""

    def __init__(self, ring: str, leader: str, emit: Emit) -> None:
        self._ring_name = ring
        self._leader = leader
        self._emit = emit
        self._followers: dict[str, Follower] = {}
        self._following: dict[str, asyncio.Task[bool]] = {}
        self._ring: RingChanged | None = None
        self._moved = asyncio.Event()
        self._gathered: list[Recorded] | None = None  # while journals are replayed

    async def follow(self, hosts: Sequence[Host]) -> list[MlxringError]:
        """Emit events of every host until its agent ends; at once where none runs.

        What the journals hold already comes first, in one order by time.
        """
        await self._catch_up(hosts)
        tasks = [self._follow(host) for host in hosts]
        left = set(tasks)
        try:
            while left:
                done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for error in map(_error, done):
                    if error is not None and not isinstance(error, MlxringError):
                        raise error  # whoever takes the events cannot: the others must not go on for nothing
        finally:
            self.leave()
            await asyncio.gather(*tasks, return_exceptions=True)
        return [error for error in map(_error, tasks) if isinstance(error, MlxringError)]

    async def replay(self, hosts: Sequence[Host]) -> bool:
        """Emit what every journal holds now, in one order by time. True while the leader's agent runs.

        Raises `HostError` when a connection breaks meanwhile.
        """
        running = False
        for host, task in zip(hosts, await self._catch_up(hosts), strict=True):
            running |= await task and self._leads(host)
        return running

    async def _catch_up(self, hosts: Sequence[Host]) -> list["asyncio.Task[bool]"]:
        """Replay every journal. A host that is slow holds the others' events back for a moment only."""
        self._gathered = []
        tasks = [asyncio.create_task(self._follower(host).replay()) for host in hosts]
        try:
            if tasks:
                await asyncio.wait(tasks, timeout=_CATCH_UP_SECONDS)
        except asyncio.CancelledError:
            for task in tasks:
                task.cancel()
            raise
        finally:
            self._emit_gathered()
            self._gathered = None
        await asyncio.gather(*tasks, return_exceptions=True)
        return tasks

    def _emit_gathered(self) -> None:
        gathered, self._gathered = self._gathered or [], []
        for record in sorted(gathered, key=lambda record: record.time):
            self._pass_on(record)

    async def serving(self, hosts: Sequence[Host]) -> None:
        """Follow every host until the ring serves. Raises its failure, or `HostError` without the leader."""
        self._ring = None
        tasks = [self._follow(host) for host in hosts]
        leader = next(task for host, task in zip(hosts, tasks, strict=True) if self._leads(host))
        while self._ring is None or self._ring.phase not in ("serving", "failed", "stopped"):
            self._moved.clear()
            moved = asyncio.create_task(self._moved.wait())
            await asyncio.wait({moved, leader}, return_when=asyncio.FIRST_COMPLETED)
            moved.cancel()
            if leader.done() and not self._moved.is_set():
                leader.result()
                break
        ring: RingChanged | None = self._ring
        if ring is not None and ring.phase == "serving":
            return
        if ring is not None and ring.failure is not None:
            raise MlxringError.of(ring.failure)
        raise RingError("the ring ended before it served", "read `mlxring logs PROFILE`", host=self._leader)

    async def forget(self, leader: Host) -> bool:
        """Ask that nothing be kept of earlier sequences; False when the ring does not run."""
        return await self._follower(leader).forget()

    async def stop(self, host: Host) -> None:
        """Ask the host's agent to end and emit events until it has. Raises `HostError`, ``TimeoutError``."""
        self._forget(host.options.name)
        async with asyncio.timeout(_STOP_SECONDS):
            await self._follower(host).stop()

    async def last_words(self) -> None:
        """What is being followed, to its end, for a moment."""
        tasks = list(self._following.values())
        if tasks:
            await asyncio.wait(tasks, timeout=_LAST_WORDS_SECONDS)
        self.leave()

    def leave(self) -> None:
        """Stop following."""
        for name in list(self._following):
            self._forget(name)

    def _leads(self, host: Host) -> bool:
        return host.options.name == self._leader

    def _follower(self, host: Host) -> Follower:
        name = host.options.name
        follower = self._followers.get(name)
        if follower is None or follower.host is not host:
            fresh = Follower(host, self._ring_name, self._take)
            if follower is not None:
                fresh.run_id, fresh.seq = follower.run_id, follower.seq
            follower = self._followers[name] = fresh
        return follower

    def _follow(self, host: Host) -> "asyncio.Task[bool]":
        task = self._following.get(host.options.name)
        if task is None or task.done():
            task = asyncio.create_task(self._follower(host).follow(), name=f"follow {host.options.name}")
            self._following[host.options.name] = task
        return task

    def _forget(self, name: str) -> None:
        task = self._following.pop(name, None)
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, asyncio.InvalidStateError, MlxringError):
                task.exception()  # seen: nobody else will ask

    def _take(self, record: Recorded) -> None:
        if self._gathered is None:
            self._pass_on(record)
            return
        self._gathered.append(record)
        if len(self._gathered) > _MOST_GATHERED:
            self._emit_gathered()

    def _pass_on(self, record: Recorded) -> None:
        if isinstance(record.event, RingChanged):
            self._ring = record.event
            self._moved.set()
        self._emit(record)


def _error(task: "asyncio.Task[bool]") -> BaseException | None:
    """What a task that is done ended with."""
    return None if task.cancelled() else task.exception()
