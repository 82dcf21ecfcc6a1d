"""How the screen looks, at three sizes. ``pytest tests/screen --snapshot-update`` draws the pictures anew."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import pytest
from textual.command import CommandList
from textual.pilot import Pilot
from textual.widgets import Input

from console.screen.panes.logs import LogsPane
from console.screen.panes.prompt import PromptPane
from ringcore.spec.errors import RingError
from ringcore.spec.events import Recorded
from tests.screen import fake
from tests.screen.driver import LARGE, MIDDLE, SMALL, drained, make, wait_until

Act = Callable[[Pilot[None], fake.FakeCluster], Awaitable[None]]


async def _nothing(pilot: Pilot[None], cluster: fake.FakeCluster) -> None:
    pass


async def _ask(pilot: Pilot[None]) -> PromptPane:
    pane = pilot.app.query_one(PromptPane)
    pane.target.focus()
    await pilot.pause()
    await pilot.press(*"why?", "enter")
    return pane


async def _streaming(pilot: Pilot[None], cluster: fake.FakeCluster) -> None:
    cluster.gate.clear()
    pane = await _ask(pilot)
    await wait_until(pilot, lambda: "every colour" in _markdown(pane))


async def _answered(pilot: Pilot[None], cluster: fake.FakeCluster) -> None:
    cluster.cached_tokens = 20
    pane = await _ask(pilot)
    await wait_until(pilot, lambda: bool(cluster.finished_chats) and not pane.answering)


async def _answer_fails(pilot: Pilot[None], cluster: fake.FakeCluster) -> None:
    cluster.failures["chat"] = RingError("the ring stopped while it answered", "press s to start it again")
    pane = await _ask(pilot)
    await wait_until(pilot, lambda: bool(cluster.conversations) and not pane.answering)


async def _palette(pilot: Pilot[None], cluster: fake.FakeCluster) -> None:
    await pilot.press("ctrl+p")
    pilot.app.screen.query_one(Input).cursor_blink = False
    await wait_until(pilot, lambda: pilot.app.screen.query_one(CommandList).option_count > 10)


async def _paused(pilot: Pilot[None], cluster: fake.FakeCluster) -> None:
    await pilot.press("4", "pageup")
    await wait_until(pilot, lambda: not pilot.app.query_one(LogsPane).lines.following)


def _markdown(pane: PromptPane) -> str:
    return "".join(block.source or "" for block in pane.query("MarkdownBlock"))  # type: ignore[attr-defined]


class Scene(NamedTuple):
    records: Sequence[Recorded]
    keys: tuple[str, ...] = ()
    act: Act = _nothing
    facts: bool = False


SCENES = {
    "empty": Scene(fake.empty()),
    "provisioning": Scene(fake.provisioning()),
    "loading": Scene(fake.loading()),
    "serving": Scene(fake.serving()),
    "serving_busy": Scene(fake.serving_busy(), act=_streaming),
    "unreachable": Scene(fake.unreachable()),
    "rank_killed": Scene(fake.rank_killed()),
    "stopped": Scene(fake.stopped()),
    "hostile": Scene(fake.hostile(), ("escape", "1")),
    "help": Scene(fake.serving(), ("escape", "question_mark")),
    "palette": Scene(fake.serving(), act=_palette),
    "details": Scene(fake.serving_busy(), ("escape", "1", "down", "enter"), facts=True),
    "details_failed": Scene(fake.unreachable(), ("1", "down", "down", "enter")),
    "split": Scene(fake.serving(), ("escape", "e", "right", "right", "tab", "right")),
    "split_refused": Scene(fake.stopped(), ("e", "tab", *["shift+right"] * 2, "enter")),
    "confirm_stop": Scene(fake.serving(), ("escape", "x")),
    "log_filter": Scene(fake.rank_killed(), ("slash", *"link", "enter")),
    "paused_logs": Scene(fake.rank_killed(), act=_paused),
    "answer": Scene(fake.serving_busy(), act=_answered),
    "failed_answer": Scene(fake.serving_busy(), act=_answer_fails),
}
# One pane at a time at 80x24; what the scenes above show there is not repeated.
SINGLE = [
    ("serving_busy", "1"),
    ("serving_busy", "2"),
    ("serving_busy", "3"),
    ("serving_busy", "4"),
    ("loading", "2"),
    ("loading", "3"),
    ("rank_killed", "2"),
    ("rank_killed", "4"),
    ("unreachable", "5"),
    ("empty", "2"),
    ("empty", "3"),
    ("hostile", "4"),
]


def _same(snap_compare: Any, scene: Scene, size: tuple[int, int]) -> bool:
    app, cluster, _ = make(scene.records)

    async def play(pilot: Pilot[None]) -> None:
        await wait_until(pilot, lambda: drained(app))
        cluster().facts = fake.FACTS if scene.facts else {}
        await pilot.press(*scene.keys)
        await scene.act(pilot, cluster())
        await wait_until(pilot, lambda: drained(app))

    return snap_compare(app, terminal_size=size, run_before=play)


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE], ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCENES)
def test_the_screen_looks_as_it_did(name: str, size: tuple[int, int], snap_compare: Any) -> None:
    assert _same(snap_compare, SCENES[name], size)


@pytest.mark.parametrize(("name", "key"), SINGLE, ids=lambda value: str(value))
def test_a_single_pane_looks_as_it_did(name: str, key: str, snap_compare: Any) -> None:
    assert _same(snap_compare, Scene(SCENES[name].records, ("escape", key)), SMALL)
