"""What the agents tell of the ranks, and whether the ring moves while requests wait.

Owns the last figures of each rank, and the judgement "it stands still"; knows nothing of HTTP.
"""

import time
from collections.abc import Callable

from ringcore.spec.events import MemoryUsed, StepCount

# A step may take long: a chunk of a prompt on a slow machine. The agents end a ring after three minutes.
STANDSTILL_SECONDS = 20.0


class Pulse:
    """``waiting`` says how many requests wait for the ring. Times are ``clock``'s seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.waiting: Callable[[], int] = lambda: 0
        self.steps: dict[int, StepCount] = {}
        self.memory: dict[int, MemoryUsed] = {}
        self._clock = clock
        self._moved = clock()

    def heard(self, event: StepCount | MemoryUsed) -> None:
        if isinstance(event, MemoryUsed):
            self.memory[event.rank] = event
            return
        before = self.steps.get(event.rank)
        if before is None or before.steps != event.steps:
            self.moved()
        self.steps[event.rank] = event

    def moved(self) -> None:
        """A sign of progress: a step, a token, or the first request after a rest."""
        self._moved = self._clock()

    @property
    def trouble(self) -> str:
        """Why the ring is not well; "" while it is, or has nothing to do."""
        waiting, still = self.waiting(), self._clock() - self._moved
        if not waiting or still < STANDSTILL_SECONDS:
            return ""
        return f"no rank has made a step for {still:.0f} s while {waiting} requests wait"
