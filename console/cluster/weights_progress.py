"""How far a host's weights are, as events: share, bytes, rate and the time that is left."""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from console.cluster.steps import emit_for
from console.ports import Emit
from ringcore.spec.events import HostStep
from ringcore.spec.units import format_bytes

_EVERY_SECONDS = 1.0
_RATE_SECONDS = 5.0


class Progress:
    """Of ``total`` bytes. The rate is over the last seconds, so that it tells a link that has become slow."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self.began = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self.began, 0)])

    def moved(self, count: int) -> None:
        self.done += count

    def text(self, now: float) -> str:
        """``"312 MiB of 1.0 GiB, 220 MiB/s, 4 s left"``, told at ``now`` by the monotonic clock."""
        self._seen.append((now, self.done))
        while now - self._seen[0][0] > _RATE_SECONDS:
            self._seen.popleft()
        began, before = self._seen[0]
        rate = (self.done - before) / (now - began) if now > began else 0.0
        said = f"{format_bytes(self.done)} of {format_bytes(self.total)}"
        if rate <= 0:
            return said
        return f"{said}, {format_bytes(rate)}/s, {(self.total - self.done) / rate:.0f} s left"

    @property
    def share(self) -> float:
        return min(1.0, max(0.0, self.done / self.total)) if self.total else 1.0


@asynccontextmanager
async def telling(emit: Emit, host: str, progress: Progress, command: str) -> AsyncGenerator[None, None]:
    """An event at once, then one every second until the block ends."""

    def tell(detail: str) -> None:
        step = HostStep(
            step="weights", status="active", progress=progress.share, detail=detail, command=command
        )
        emit_for(emit, host, step)

    async def go_on() -> None:
        while True:
            await asyncio.sleep(_EVERY_SECONDS)
            tell(progress.text(time.monotonic()))

    tell(f"{command}: {format_bytes(progress.total)}")
    ticking = asyncio.create_task(go_on())
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)
