"""The loop of rank 0: requests in from the gateway, steps onto the ring, tokens out.

Owns when the ring rests: nothing in flight for `REST_SECONDS` parks every rank, and this one then
waits for the gateway and the agent in a select. Which step comes next is the engine's choice.
"""

import select
import time
from collections.abc import Callable

from ringcore.engine.door import RETRY_SECONDS, Door
from ringcore.engine.engine import Engine
from ringcore.engine.step import Operation
from ringcore.rank.brings import Brings
from ringcore.rank.control import Control
from ringcore.rank.pipe import Pipe
from ringcore.rank.report import Report
from ringcore.spec.control import Brought, WakeAll
from ringcore.spec.engine import Cancel, EngineToGateway, Submit
from ringcore.spec.events import MemoryPressure

REST_SECONDS = 0.1
Relieve = Callable[[int, int], int]


class Leader:
    """``run`` returns after a stop step has come round. ``relieve(rank, size)`` is asked to have ``size``
    bytes given up on ``rank`` that can be computed again, and says how many will be. ``brings``: orders for
    blocks of other hosts."""

    def __init__(
        self,
        engine: Engine,
        pipe: Pipe,
        door: Door,
        control: Control,
        report: Report,
        relieve: Relieve = lambda _rank, _size: 0,
        brings: Brings | None = None,
    ) -> None:
        self._engine = engine
        self._pipe = pipe
        self._door = door
        self._control = control
        self._report = report
        self._relieve = relieve
        self._brings = brings
        self._pressures = control.pressures  # as they were minded
        self._forgets = 0  # what was asked for while the model was loaded counts
        self._parked = False
        self._moved = 0.0
        self._serving = False  # a gateway was there: its loss must be noticed once

    def greet(self) -> None:
        """One round of parking: proves every link, epoch and plan before anyone is told "ready"."""
        self._park()

    def run(self) -> None:
        """Serve until the agent says Quit. Raises `RingError` when a link breaks."""
        while True:
            self._listen()
            if self._control.quitting:
                self._stop()
                return
            self._issue()
            if self._engine.in_flight:
                self._collect()
            elif not self._parked and time.monotonic() - self._moved >= REST_SECONDS:
                self._park()

    def _listen(self) -> None:
        door = self._door
        door.connect()
        ready, _, _ = select.select([self._control, *door.readable], door.writable, [], self._patience())
        if self._control in ready:
            self._control.drain()
        self._report.look()
        self._mind_memory()
        self._mind_operator()
        self._mind_blocks()
        door.flush()
        messages = door.receive()
        if messages is None:
            if self._serving:
                self._control.say("the gateway is gone: cancelling what ran for it", "WARNING")
                self._engine.cancel_all()
            self._serving = False
            return
        self._serving = True
        if door.problem:
            self._control.say(door.problem, "WARNING")
            door.problem = ""
        for message in messages:
            match message:
                case Submit():
                    self._send(self._engine.submit(message))
                case Cancel():
                    self._send(self._engine.cancel(message.id))

    def _mind_operator(self) -> None:
        if self._control.forgets != self._forgets:
            self._forgets = self._control.forgets
            self._engine.clear()

    def _mind_blocks(self) -> None:
        for message in self._brings.heard() if self._brings else ():
            if isinstance(message, Brought):
                self._engine.brought(message)
            else:
                self._engine.elsewhere(message.blocks)

    def _mind_memory(self) -> None:
        """Give up, then refuse, then end requests, as ranks are short of memory."""
        pressures = self._control.pressures
        if pressures is self._pressures:
            return
        before, self._pressures = self._pressures, pressures
        for each in pressures.values():
            if each is before.get(each.rank):
                continue
            freed = self._relieve(each.rank, each.over_bytes) if each.over_bytes else 0
            if each.level == "over" and freed < each.over_bytes:
                self._send(self._engine.shed(_refusal(each, "this request was ended to free some")))
        full = [each for each in pressures.values() if each.level in ("full", "over")]
        over = any(each.level == "over" for each in full)
        cause = _refusal(full[0], "new requests are refused until some is free") if full else ""
        self._send(self._engine.hold(cause, pause=over))

    def _patience(self) -> float:
        """Seconds that may be spent in select now: with nothing in flight, nothing can go before a word comes
        (a prompt may wait for memory)."""
        if self._engine.in_flight:
            return 0.0
        if not self._parked:
            return REST_SECONDS / 2
        patience = self._report.patience if self._door.connected else RETRY_SECONDS
        return min(patience, self._brings.patience) if self._brings else patience

    def _issue(self) -> None:
        while True:
            step, messages = self._engine.next_step()
            if step is None:
                return
            if self._parked:
                self._control.send(WakeAll())
                self._parked = False
            self._pipe.issue(step)
            self._send(messages)

    def _collect(self) -> None:
        messages = self._engine.acknowledge(self._pipe.collect())
        self._issue()  # the other stages have work before anybody reads what this step brought
        self._send(messages)
        self._moved = time.monotonic()
        self._report.stepped(in_flight=self._engine.in_flight, waited=self._pipe.waited)

    def _park(self) -> None:
        self._round(Operation.PARK)
        self._parked = True
        self._report.rest(waited=self._pipe.waited)

    def _stop(self) -> None:
        self._control.phase("stopping")
        self._door.close()
        if self._parked:
            return  # every rank is told by its own agent
        while self._engine.in_flight:
            self._engine.acknowledge(self._pipe.collect())
        self._round(Operation.STOP)

    def _round(self, operation: Operation) -> None:
        self._pipe.issue(self._engine.control(operation))
        self._engine.acknowledge(self._pipe.collect())

    def _send(self, messages: list[EngineToGateway]) -> None:
        if messages:
            self._door.send(messages)


def _refusal(pressure: MemoryPressure, what: str) -> str:
    return f"rank {pressure.rank} on {pressure.host} is short of memory, {pressure.text}: {what}"
