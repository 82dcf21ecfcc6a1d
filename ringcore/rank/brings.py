"""Rank 0's orders for blocks of other hosts, through its agent: each is answered once, if by nobody else then
by the clock. Counts what did not come.
"""

import time
from collections.abc import Callable

from msgspec import Struct, structs

from ringcore.rank.control import Control
from ringcore.spec.control import BlocksElsewhere, Bring, Brought, Unwanted

_GRACE_SECONDS = 1.0  # for the agent, which keeps the time itself


class _Open(Struct, frozen=True):
    blocks: int
    until: float


class Brings:
    """``missed``: blocks that were asked for and did not come."""

    def __init__(self, control: Control, clock: Callable[[], float] = time.monotonic) -> None:
        self._control = control
        self._clock = clock
        self._open: dict[int, _Open] = {}
        self.missed = 0

    def ask(self, order: Bring | Unwanted) -> None:
        if isinstance(order, Unwanted):
            if order.id in self._open:
                self._open[order.id] = structs.replace(self._open[order.id], blocks=0)
            self._control.send(order)
            return
        self._open[order.id] = _Open(len(order.blocks), self._clock() + order.seconds + _GRACE_SECONDS)
        self._control.send(order)

    def heard(self) -> list[BlocksElsewhere | Brought]:
        """What came since the last call, and answers to what nobody answered."""
        found: list[BlocksElsewhere | Brought] = []
        for message in self._control.take_blocks():
            if isinstance(message, BlocksElsewhere):
                found.append(message)
            elif message.id in self._open:
                found.append(self._closed(message))
        now = self._clock()
        for number in [number for number, each in self._open.items() if each.until <= now]:
            found.append(self._closed(Brought(id=number, count=0, cause="the agent did not answer")))
        return found

    @property
    def patience(self) -> float:
        """Seconds until an answer is overdue."""
        now = self._clock()
        return min((max(0.0, each.until - now) for each in self._open.values()), default=float("inf"))

    def _closed(self, answer: Brought) -> Brought:
        self.missed += max(0, self._open.pop(answer.id).blocks - answer.count)
        return answer
