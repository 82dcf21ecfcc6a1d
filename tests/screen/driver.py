"""Driving the screen in tests: a clock that stands still, waits on conditions, what is on the screen."""

import asyncio
import time
from collections.abc import Callable

from textual.pilot import Pilot

from console.screen.app import ConsoleApp
from console.screen.panes.logs import LogsPane


class FixedClock:
    """Seconds that pass only when a test says so: what was at work stays at work."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def drained(app: ConsoleApp) -> bool:
    """Every line that came is in the store, and the last picture is drawn."""
    return not len(app.query_one(LogsPane).merger) and not app.drawing


async def wait_until(pilot: Pilot[None], condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Poll until the condition holds. Raises ``AssertionError`` after ``seconds``."""
    deadline = time.monotonic() + seconds
    await pilot.pause()
    while not condition():
        assert time.monotonic() < deadline, "the screen did not get there in time"
        await asyncio.sleep(0.02)
    await pilot.pause()


def seen(app: ConsoleApp) -> str:
    """The characters on the screen, line by line."""
    width, height = app.size
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text[:width] for strip in strips[:height])
