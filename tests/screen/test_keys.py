"""Every action of the registry: its key does it, and when it makes no sense it says why."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from textual.command import CommandPalette

from console.screen.actions import ACTIONS, BY_ID
from console.screen.bars import Key, KeyBar
from console.screen.dialogs import ConfirmStop, Help, Why
from console.screen.host_details import HostDetails
from console.screen.split_editor import SplitEditor
from ringcore.spec.events import Recorded
from tests.screen import fake
from tests.screen.driver import LARGE, MIDDLE, SMALL, Open, opened


class Case(NamedTuple):
    """``keys``, the last of them the action's own, pressed over ``records``; then ``done`` holds."""

    records: Sequence[Recorded]
    keys: tuple[str, ...]
    done: Callable[[Open], bool]


def _asked(verb: str) -> Callable[[Open], bool]:
    return lambda it: verb in it.cluster.asked


def _shows(screen: type) -> Callable[[Open], bool]:
    return lambda it: isinstance(it.app.screen, screen)


def _in(pane: str) -> Callable[[Open], bool]:
    return lambda it: it.pane == pane


STOPPED, SERVING = fake.stopped(), fake.serving()
CASES = {
    "provision": Case(STOPPED, ("p",), _asked("provision")),
    "deploy": Case(STOPPED, ("d",), _asked("deploy")),
    "start": Case(STOPPED, ("s",), _asked("start")),
    "stop": Case(SERVING, ("escape", "x"), _shows(ConfirmStop)),
    "refresh": Case(SERVING, ("escape", "a"), lambda it: it.cluster.asked.count("follow") == 2),
    "pane_hosts": Case(SERVING, ("escape", "1"), _in("hosts")),
    "pane_layers": Case(SERVING, ("escape", "2"), _in("layers")),
    "pane_memory": Case(SERVING, ("escape", "3"), _in("memory")),
    "pane_logs": Case(SERVING, ("escape", "4"), _in("logs")),
    "pane_prompt": Case(STOPPED, ("5",), _in("prompt")),
    "next_pane": Case(STOPPED, ("1", "tab"), _in("layers")),
    "zoom": Case(STOPPED, ("1", "z"), lambda it: not it.prompt.display),
    "filter": Case(SERVING, ("escape", "slash"), lambda it: it.logs._filter.has_focus),
    "help": Case(SERVING, ("escape", "question_mark"), _shows(Help)),
    "palette": Case(SERVING, ("ctrl+p",), _shows(CommandPalette)),
    "quit": Case(STOPPED, ("q",), lambda it: it.app.return_code == 0 and not it.app.is_running),
    "retry": Case(fake.unreachable(), ("1", "down", "down", "r"), _asked("retry mini2 reach")),
    "why": Case(fake.rank_killed(), ("w",), _shows(Why)),
    "edit_split": Case(SERVING, ("escape", "e"), _shows(SplitEditor)),
    "details": Case(STOPPED, ("1", "down", "enter"), _shows(HostDetails)),
    "follow": Case(SERVING, ("escape", "4", "f"), lambda it: not it.logs.lines.following),
    "one_rank": Case(SERVING, ("escape", "4", "n"), lambda it: it.logs.lines.view.filter.rank == 0),
    "copy": Case(SERVING, ("escape", "4", "c"), lambda it: "ring serving" in it.app.clipboard),
    "unfilter": Case(SERVING, ("escape", "4", "n", "escape"), lambda it: not it.logs.lines.view.filter),
    "cancel": Case(SERVING, ("5", "escape"), lambda it: not it.prompt.target.has_focus),
    "fresh": Case(SERVING, ("a", "enter", "ctrl+l"), lambda it: not it.prompt.query(".turn")),
    "copy_answer": Case(
        SERVING, ("a", "enter", "ctrl+y"), lambda it: it.app.clipboard.startswith("Sunlight holds **every")
    ),
}


def test_every_action_of_the_registry_is_tried_below() -> None:
    assert set(CASES) == set(BY_ID)


@pytest.mark.parametrize("name", CASES)
async def test_the_key_does_what_the_registry_says(name: str) -> None:
    case = CASES[name]
    async with opened(case.records) as it:
        for key in case.keys[:-1]:
            await it.press(key)
            await it.until(lambda: not it.prompt.answering)
        assert not case.done(it)
        await it.pilot.press(case.keys[-1])
        await it.until(lambda: case.done(it))


def test_no_two_actions_share_a_key_where_both_are_heard() -> None:
    for scope in ("hosts", "logs", "prompt"):
        keys = [
            key
            for action in ACTIONS
            if action.scope in ("app", scope) and action.keys
            for key in action.keys.split(",")
        ]
        assert len(keys) == len(set(keys))


async def test_the_help_names_every_key() -> None:
    async with opened(SERVING, size=LARGE) as it:
        await it.press("escape", "question_mark")
        shown = it.seen()
        for action in ACTIONS:
            assert f"{action.key} " in shown and action.help in shown


async def test_the_palette_offers_every_action_under_a_name_of_its_own() -> None:
    async with opened(SERVING) as it:
        titles = [command.title for command in it.app.get_system_commands(it.app.screen)]
        assert len(titles) == len(set(titles))
        assert {action.title for action in ACTIONS if action.id != "palette"} < set(titles)


async def test_the_palette_does_what_the_key_does() -> None:
    async with opened(SERVING) as it:
        await it.press("ctrl+p", *"help")
        await it.pilot.pause(0.3)
        await it.press("enter")
        await it.until(lambda: isinstance(it.app.screen, Help))


# what makes no sense now --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "key", "reason"),
    [
        (SERVING, "p", "provision: the ring runs; stop it first with x"),
        (SERVING, "d", "deploy: the ring runs; stop it first with x"),
        (SERVING, "s", "start: the ring runs; stop it first with x"),
        (fake.empty(), "x", "stop: nothing runs; s starts the ring"),
    ],
)
async def test_a_key_that_makes_no_sense_says_why(records: list[Recorded], key: str, reason: str) -> None:
    async with opened(records) as it:
        await it.press("escape", "1", key)
        assert reason in it.said
        assert it.cluster.asked == ["follow"]


async def test_while_one_verb_is_at_work_the_others_say_so() -> None:
    async with opened(STOPPED) as it:
        it.cluster.holding = True
        await it.press("p")
        await it.until(lambda: "provision" in it.cluster.asked)
        await it.press("s", "a")
        assert "start: provision is at work" in it.said
        assert "attach: provision is at work" in it.said
        assert it.cluster.asked == ["follow", "provision"]


async def test_keys_that_make_no_sense_are_struck_out_at_the_bottom() -> None:
    async with opened(SERVING) as it:
        styles = {key.act.id: str(key.render().spans) for key in it.app.query(Key)}  # type: ignore[union-attr]
        assert "strike" in styles["start"] and "strike" in styles["provision"]
        assert "strike" not in styles["stop"] and "strike" not in styles["help"]


async def test_a_dialog_hears_the_keys_and_the_panes_do_not() -> None:
    async with opened(STOPPED) as it:
        await it.press("question_mark", "s", "x", "3")
        assert isinstance(it.app.screen, Help)
        assert it.cluster.asked == ["follow"]
        await it.press("q")
        assert len(it.app.screen_stack) == 1 and it.app.is_running


# the line at the bottom ---------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(60, 20), SMALL, MIDDLE, LARGE])
async def test_the_most_needed_keys_are_always_at_the_bottom(size: tuple[int, int]) -> None:
    async with opened(STOPPED, size=size) as it:
        last = it.seen().splitlines()[-1]
        for hint in ("s start", "x stop", "? help"):
            assert hint in last
        shown = [key for key in it.app.query(Key) if key.display]
        assert shown[-1].region.right <= size[0]


async def test_while_letters_go_into_an_input_the_bottom_says_how_to_leave_it() -> None:
    async with opened(SERVING) as it:
        assert it.pane == "prompt"
        assert it.seen().splitlines()[-1].startswith(" tab, then p")
        await it.press("tab")
        assert it.seen().splitlines()[-1].startswith(" p provision")
        await it.press("slash")
        assert it.seen().splitlines()[-1].startswith(" enter, then p")
        await it.press("enter")
        assert it.seen().splitlines()[-1].startswith(" p provision")


async def test_a_click_on_a_key_at_the_bottom_does_it() -> None:
    async with opened(STOPPED) as it:
        start = next(key for key in it.app.query_one(KeyBar).query(Key) if key.act.id == "start")
        await it.pilot.click(start)
        await it.until(lambda: "start" in it.cluster.asked)


async def test_a_click_on_a_key_that_makes_no_sense_says_why() -> None:
    async with opened(SERVING) as it:
        start = next(key for key in it.app.query_one(KeyBar).query(Key) if key.act.id == "start")
        await it.pilot.click(start)
        await it.until(lambda: "stop it first with x" in it.said)
        assert "start" not in it.cluster.asked
