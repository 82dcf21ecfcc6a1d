"""Reads one host's journal through ``ringcore attach``: replayed, then live; nothing twice or missed."""

import asyncio

import msgspec
from msgspec import structs

from console.cluster.host import Attached, Host
from console.cluster.remote import launch
from console.cluster.steps import emit_for
from console.ports import Emit
from ringcore.spec.control import Attach, ForgetPrefixes, Happened, StopRing, Welcome, agent_to_console, line
from ringcore.spec.errors import Failure, HostError, RingError
from ringcore.spec.events import AgentLost, RankChanged, RingChanged

_AGAIN_SECONDS = 0.5
WELCOME_SECONDS = 20.0  # longer than a stop waits, which reaps then
_LATEST = 1 << 40  # seconds since the epoch that clocks and calendars still take
NO_LIMIT = 0.0  # a stream's time-out: until it ends or is cancelled


class Follower:
    """One host's place in its journal. ``seq`` is the last event seen of the run ``run_id``."""

    def __init__(self, host: Host, ring: str, emit: Emit) -> None:
        self.host = host
        self.run_id = ""
        self.seq = 0
        self._ended = False  # the journal has said that rank or ring ended
        self._ring = ring
        self._emit = emit

    async def follow(self) -> bool:
        """Emit events until the agent ends; at once where none runs. False when nothing was ever deployed.

        Raises `HostError` when the connection breaks while the agent still ran.
        """
        while True:
            known = await self._read(live=True)
            if self._ended or not self.seq or not await self._read(live=False):
                return known
            await asyncio.sleep(_AGAIN_SECONDS)  # only the process in between was ended

    async def replay(self) -> bool:
        """Emit what the journal holds now and return: True while an agent runs there."""
        return await self._read(live=False)

    async def forget(self) -> bool:
        """As `replay`, and ask the agent that its ring keep nothing of earlier sequences."""
        return await self._read(ForgetPrefixes(), live=False)

    async def stop(self) -> bool:
        """Ask the agent to end its ring and emit events until it has. False when nothing was deployed."""
        return await self._read(StopRing(), live=True)

    async def _read(self, order: StopRing | ForgetPrefixes | None = None, *, live: bool) -> bool:
        options = self.host.options
        async with self.host.stream(launch(options.home, self._ring, "attach"), timeout=NO_LIMIT) as attached:
            await attached.send(line(Attach(after=self.seq, run_id=self.run_id)))
            if order is not None:
                await attached.send(line(order))
            try:
                return await self._drain(attached, live=live)
            except HostError as error:
                emit_for(self._emit, options.name, AgentLost(failure=error.failure))
                raise

    async def _drain(self, attached: Attached, *, live: bool) -> bool:
        welcome: Welcome | None = None
        silence = asyncio.timeout(WELCOME_SECONDS)
        try:
            async with silence:
                async for raw in attached.lines():
                    message = self._understood(raw, welcomed=welcome is not None)
                    if message is None:
                        continue
                    if isinstance(message, Welcome):
                        welcome = message
                        silence.reschedule(None)
                        if message.run_id != self.run_id:
                            self.run_id, self.seq, self._ended = message.run_id, 0, False
                    else:
                        self._take(message)
                    if not live and welcome is not None and self.seq >= welcome.last_seq:
                        break
        except TimeoutError:
            if not silence.expired():
                raise
            raise HostError(
                f"its agent has said nothing for {WELCOME_SECONDS:.0f} s: it is stopped, or the host is busy",
                "look for `python -m ringcore agent` there; `mlxring down PROFILE` ends it",
                host=self.host.options.name,
            ) from None
        if welcome is None:
            return False
        if not welcome.running and self.seq and not self._ended:
            self._say_that_it_died(welcome)
        elif live and self._ended:
            emit_for(self._emit, self.host.options.name, AgentLost())
        return live or welcome.running

    def _understood(self, raw: bytes, *, welcomed: bool) -> Welcome | Happened | None:
        """None for what a login script printed before the agent's first word."""
        try:
            return agent_to_console.decode(raw)
        except msgspec.MsgspecError as error:
            if not welcomed:
                return None
            raise HostError(
                f"its agent says what this console does not understand: {error}",
                "another version of mlxring started the ring: use that one's console, or put this one's in "
                "its place with `mlxring up PROFILE --yes`",
                host=self.host.options.name,
            ) from None

    def _say_that_it_died(self, welcome: Welcome) -> None:
        """The journal breaks off: nobody was left to write why."""
        self._ended = True
        name = self.host.options.name
        failure = RingError(
            "its agent was killed, or the host was restarted: the journal breaks off",
            "start the ring again; `mlxring down` clears what is left",
            host=name,
            rank=welcome.rank,
        ).failure
        emit_for(self._emit, name, AgentLost(failure=failure))
        if welcome.rank == 0:
            emit_for(self._emit, name, RingChanged(phase="failed", epoch=1, failure=failure))

    def _take(self, message: Happened) -> None:
        record = message.record
        if record.seq <= self.seq:
            return
        if not 0 <= record.time < _LATEST:  # nobody's clock: it could not be told as a time of day
            record = structs.replace(record, time=0.0)
        if self.seq and record.seq != self.seq + 1:
            missing = Failure(
                cause=f"events {self.seq + 1} to {record.seq - 1} are missing from the journal",
                host=record.host,
            )
            emit_for(self._emit, self.host.options.name, AgentLost(failure=missing))
        self.seq = record.seq
        if isinstance(record.event, RankChanged | RingChanged):
            self._ended = record.event.phase in ("stopped", "failed")
        self._emit(record)
