"""What a rank tells of its work: the step counter and the memory, as often as the agent wants them.

Knows nothing of what the steps were.
"""

import time

import mlx.core as mx
import psutil

from ringcore.rank.control import Control
from ringcore.rank.executor import Executor
from ringcore.rank.memory import MemoryWatch
from ringcore.spec.events import MemoryUsed, PrefixUsed, StepCount

STEPS_SECONDS = 0.25
MEMORY_SECONDS = 1.0
IDLE_SECONDS = 30.0
PRESSED_SECONDS = 1.0  # between looks of an idle rank that is short of memory


class Report:
    """Counts steps since it was made. ``waited`` of the link is passed in, it owns none."""

    def __init__(
        self, control: Control, executor: Executor, weight_bytes: int, watch: MemoryWatch | None = None
    ) -> None:
        self._control = control
        self._executor = executor
        self._weight_bytes = weight_bytes
        self._watch = watch
        self._process = psutil.Process()
        self._steps = 0
        self._said: StepCount | None = None
        self._steps_time = self._memory_time = 0.0
        self._memory_steps = -1  # when memory was told last

    def stepped(self, *, in_flight: int = 0, waited: float = 0.0) -> None:
        """One more step is done; says so when it is time."""
        self._steps += 1
        now = time.monotonic()
        if now - self._steps_time >= STEPS_SECONDS:
            self._say_steps(now, in_flight, waited)
        if now - self._memory_time >= MEMORY_SECONDS:
            self.memory()
        self.look()

    def rest(self, *, waited: float = 0.0) -> None:
        """Nothing is in flight any more: the last figures, once."""
        if self._said is None or self._said.steps != self._steps or self._said.in_flight:
            self._say_steps(time.monotonic(), 0, waited)
        if self._memory_steps != self._steps:  # what the last steps kept and freed counts, too
            self.memory()

    @property
    def patience(self) -> float:
        """Seconds that an idle rank may leave its memory alone."""
        return IDLE_SECONDS if self._watch is None or self._watch.calm else PRESSED_SECONDS

    def look(self) -> None:
        """Whether memory comes near a bound."""
        if self._watch is not None:
            self._watch.check()

    def memory(self) -> None:
        """Say what is held now."""
        self.look()
        self._memory_time, self._memory_steps = time.monotonic(), self._steps
        held = mx.get_active_memory() + mx.get_cache_memory()
        kv_bytes, prefix = self._executor.kv_bytes, self._executor.prefix_used
        self._control.send(
            MemoryUsed(
                rank=self._control.rank,
                weight_bytes=self._weight_bytes,
                kv_bytes=kv_bytes,
                workspace_bytes=max(0, held - self._weight_bytes - kv_bytes - prefix.bytes),
                resident_bytes=self._process.memory_info().rss,
                available_bytes=psutil.virtual_memory().available,
                prefix=prefix if _is_worth_telling(prefix) else None,
            )
        )

    def _say_steps(self, now: float, in_flight: int, waited: float) -> None:
        self._steps_time = now
        self._said = StepCount(
            rank=self._control.rank,
            steps=self._steps,
            tokens=self._executor.tokens,
            in_flight=in_flight,
            busy_seconds=round(self._executor.busy, 4),
            link_seconds=round(waited, 4),
        )
        self._control.send(self._said)


def _is_worth_telling(prefix: PrefixUsed) -> bool:
    return bool(prefix.blocks or prefix.evicted or prefix.disk_blocks or prefix.uncached)
