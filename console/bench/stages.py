"""How busy each stage was between two moments, from the counters that ranks report.

Owns the newest counter of each rank; knows nothing of requests, and of hosts only their names.
"""

import asyncio
from contextlib import suppress

from msgspec import Struct

from ringcore.spec.events import Recorded, StepCount

_STILL_SECONDS = 0.6  # ranks report four times a second
_SETTLE_SECONDS = 3.0


class StageUse(Struct, frozen=True, kw_only=True):
    """One rank during a round. Shares are of the round's seconds; ``link_milliseconds`` is what one step
    waited in receive. ``known`` False: its counters did not come, or it was started anew."""

    rank: int
    host: str
    known: bool = False
    steps: int = 0
    busy_share: float = 0.0
    link_share: float = 0.0
    link_milliseconds: float = 0.0


class Stages:
    """Give it every event (it is a watcher of a session); then `before`, the round, `after`."""

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._hosts = hosts
        self._newest: dict[int, StepCount] = {}
        self._moved = asyncio.Event()

    def __call__(self, record: Recorded) -> None:
        if isinstance(record.event, StepCount):
            self._newest[record.event.rank] = record.event
            self._moved.set()

    def before(self) -> dict[int, StepCount]:
        return dict(self._newest)

    async def after(self, before: dict[int, StepCount], seconds: float) -> tuple[StageUse, ...]:
        """What each rank did since ``before``, over a round of ``seconds``. Waits until no counter has come
        for a moment: the last ones are on their way, and only rank 0 says when it rests."""
        with suppress(TimeoutError):  # others may use the ring; the newest counters are then as good as any
            async with asyncio.timeout(_SETTLE_SECONDS):
                while await self._moves():
                    pass
        return tuple(
            use(rank, host, before.get(rank), self._newest.get(rank), seconds)
            for rank, host in enumerate(self._hosts)
        )

    async def _moves(self) -> bool:
        self._moved.clear()
        try:
            async with asyncio.timeout(_STILL_SECONDS):
                await self._moved.wait()
        except TimeoutError:
            return False
        return True


def use(rank: int, host: str, before: StepCount | None, after: StepCount | None, seconds: float) -> StageUse:
    """The difference of two counters. Without the first one, the counter began at 0 with this round."""
    first = before or StepCount(rank=rank, steps=0)
    steps = after.steps - first.steps if after else 0
    if after is None or steps <= 0 or seconds <= 0:
        return StageUse(rank=rank, host=host)
    link = after.link_seconds - first.link_seconds
    return StageUse(
        rank=rank,
        host=host,
        known=True,
        steps=steps,
        busy_share=(after.busy_seconds - first.busy_seconds) / seconds,
        link_share=link / seconds,
        link_milliseconds=1000 * link / steps,
    )
