"""Driving the screen in tests: a clock that stands still, waits on conditions, what is on the screen."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from textual.pilot import Pilot

from console.screen.app import ConsoleApp
from console.screen.panes.logs import LogsPane
from console.screen.panes.prompt import PromptPane
from ringcore.spec.events import Recorded
from ringcore.spec.profile import Profile
from tests.screen.fake import PROFILE, FakeCluster

SMALL, MIDDLE, LARGE = (80, 24), (120, 36), (200, 50)


class FixedClock:
    """Seconds that pass only when a test says so: what was at work stays at work."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Open(NamedTuple):
    """A console that runs, over a scripted cluster."""

    app: ConsoleApp
    pilot: Pilot[None]
    cluster: FakeCluster
    clock: FixedClock

    @property
    def logs(self) -> LogsPane:
        return self.app.query_one(LogsPane)

    @property
    def prompt(self) -> PromptPane:
        return self.app.query_one(PromptPane)

    @property
    def pane(self) -> str:
        """Name of the pane that has the focus."""
        focused = self.app.focused
        assert focused is not None
        return next(node.id or "" for node in focused.ancestors_with_self if node.has_class("pane"))

    @property
    def said(self) -> str:
        """What the notifications say, the newest last."""
        return "\n".join(f"{note.title} {note.message}" for note in self.app._notifications)

    def seen(self) -> str:
        return seen(self.app)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)
        await self.settle()

    async def until(self, condition: Callable[[], bool]) -> None:
        await wait_until(self.pilot, condition)

    async def settle(self) -> None:
        await wait_until(self.pilot, lambda: drained(self.app) or not self.app.is_running)

    async def ask(self, text: str) -> None:
        """Type a question into the prompt and send it."""
        self.prompt.target.focus()
        await self.pilot.pause()
        await self.pilot.press(*("space" if letter == " " else letter for letter in text), "enter")


def make(
    records: Sequence[Recorded] = (), profile: Profile = PROFILE, **options: Any
) -> tuple[ConsoleApp, Callable[[], FakeCluster], FixedClock]:
    """A console over a cluster that follows ``records``; nothing in it waits, blinks or moves."""
    made: list[FakeCluster] = []
    clock = FixedClock()

    def cluster(emit: Callable[[Recorded], None]) -> FakeCluster:
        made.append(FakeCluster(emit, records, profile))
        return made[0]

    app = ConsoleApp(cluster, clock=clock, **options)
    app.animation_level = "none"
    app._logs.merger.hold = 0.0
    return app, lambda: made[0], clock


@asynccontextmanager
async def opened(
    records: Sequence[Recorded] = (),
    size: tuple[int, int] = MIDDLE,
    prepare: Callable[[FakeCluster], None] = lambda cluster: None,
    profile: Profile = PROFILE,
    **options: Any,
) -> AsyncIterator[Open]:
    """A running console that has drawn all of ``records``."""
    app, cluster, clock = make(records, profile, **options)
    prepare(cluster())
    async with app.run_test(size=size, notifications=True) as pilot:
        it = Open(app, pilot, cluster(), clock)
        await it.settle()
        yield it


def drained(app: ConsoleApp) -> bool:
    """Every line that came is in the store, and the last picture is drawn."""
    return not len(app._logs.merger) and not app.drawing


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
