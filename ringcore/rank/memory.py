"""Watches this rank's memory while it serves: says when it comes near a bound, and when it has left it.

Gives up at once what nobody misses (MLX's free buffers, the allocator's free pages). What else can go is
for the leader to decide, which hears of it through the agents. Knows no requests and no caches.
"""

import ctypes
import sys
import time
from collections.abc import Callable, Mapping, Sequence

import mlx.core as mx

from ringcore.rank.gauges import Gauge, Reading
from ringcore.spec.events import MemoryPressure, PressureLevel

AGAIN_SECONDS: Mapping[PressureLevel, float] = {"near": 2.0, "full": 2.0, "over": 0.5}  # while it lasts
CHECK_SECONDS = 0.25
_LEAST_GRAIN, _GRAINS = 1 << 20, 16
_ORDER: tuple[PressureLevel, ...] = ("calm", "near", "full", "over")
_BEGIN: tuple[tuple[PressureLevel, int], ...] = (("over", 1), ("full", 2), ("near", 4))  # eighths left


class MemoryWatch:
    """``ahead``: bytes that steps may still take before a word of this rank can stop them. ``say`` gets a
    `MemoryPressure` when the level changes, and again while it lasts."""

    def __init__(
        self,
        rank: int,
        host: str,
        ahead: Callable[[], int],
        gauges: Sequence[Gauge],
        say: Callable[[MemoryPressure], None],
    ) -> None:
        self._rank = rank
        self._host = host
        self._ahead = ahead
        self._gauges = gauges
        self._say = say
        self._level: PressureLevel = "calm"
        self._checked = self._said = float("-inf")
        self._active = 0  # what MLX held when it was last looked at
        self._grain = _LEAST_GRAIN

    @property
    def calm(self) -> bool:
        return self._level == "calm"

    def check(self) -> None:
        """Look when it is time, or much was taken since; say what changed."""
        now, active = time.monotonic(), mx.get_active_memory()
        if now - self._checked < CHECK_SECONDS and active - self._active < self._grain:
            return
        self._checked, self._active = now, active
        ahead, worst = self._worst()
        if worst is not None and self._of(worst, ahead) != "calm":
            give_up_free_pages()
            ahead, worst = self._worst()
        level: PressureLevel = "calm" if worst is None else self._of(worst, ahead)
        lasts = level != "calm" and now - self._said >= AGAIN_SECONDS[level]
        if worst is None or (level == self._level and not lasts):
            return
        self._level, self._said = level, now
        self._say(
            MemoryPressure(
                rank=self._rank,
                host=self._host,
                level=level,
                used_bytes=worst.used,
                limit_bytes=worst.limit,
                source=worst.source,
                over_bytes=max(0, ahead + _parts(worst, 5) - worst.left),
            )
        )

    def _worst(self) -> tuple[int, Reading | None]:
        """What steps may still take, and the bound that is nearest."""
        ahead = self._ahead()
        found = [reading for reading in (gauge() for gauge in self._gauges) if reading is not None]
        self._grain = max(_LEAST_GRAIN, min((one.spare for one in found), default=0) // _GRAINS)
        nearest = max(found, key=lambda one: (_ORDER.index(self._of(one, ahead)), -one.left), default=None)
        return ahead, nearest

    def _of(self, one: Reading, ahead: int) -> PressureLevel:
        """Levels begin at 1/2, 1/4 and 1/8 of what should stay free, and end an eighth above that."""
        left = one.left - (ahead if one.steps else 0)
        before = _ORDER.index(self._level)
        for level, eighths in _BEGIN:
            if level == "over" and not one.deadly:
                continue
            held = before >= _ORDER.index(level)
            if left < _parts(one, eighths + held):
                return level
        return "calm"


def give_up_free_pages() -> None:
    """Back to the system what MLX and the C library keep for later."""
    mx.clear_cache()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        if trim is not None:
            trim(0)


def _parts(one: Reading, eighths: int) -> int:
    return one.spare * eighths // 8
