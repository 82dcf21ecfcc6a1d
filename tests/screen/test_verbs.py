"""What the console does to the ring: verbs, attaching, failures that stay, stopping and leaving."""

import asyncio
import os
import signal

import pytest
from rich.text import Text
from textual.widgets import Button

from console.screen import work
from console.screen.dialogs import ConfirmStop
from ringcore.spec.errors import Failure, HostError, PlanError, RingError
from ringcore.spec.events import AgentLost
from tests.screen import fake
from tests.screen.driver import LARGE, SMALL, Open, opened


def hold(cluster: fake.FakeCluster) -> None:
    cluster.holding = True


def message(it: Open) -> str:
    """What the app will print when it has left the screen."""
    return "\n".join(str(part) for part in it.app._exit_renderables)


# attaching and starting ---------------------------------------------------------------------------


async def test_the_console_attaches_to_what_runs_and_starts_nothing() -> None:
    async with opened(fake.serving()) as it:
        assert it.cluster.asked == ["follow"]
        assert it.app.picture.attached and "SERVING" in it.seen()


async def test_told_to_start_it_starts_the_ring_and_then_follows_it() -> None:
    async with opened(start=True) as it:
        await it.until(lambda: it.app.picture.attached)
        assert it.cluster.asked == ["start", "follow"]
        await it.until(lambda: "SERVING" in it.seen())


async def test_a_verb_at_work_is_named_in_the_header() -> None:
    async with opened(fake.stopped()) as it:
        it.cluster.holding = True
        await it.press("p")
        await it.until(lambda: "PROVISIONING" in it.seen())
        it.cluster.hold.set()
        await it.until(lambda: "provision: done" in it.said)
        await it.until(lambda: "STOPPED" in it.seen())


async def test_attaching_again_ends_the_former_follower_first() -> None:
    async with opened(fake.serving()) as it:
        await it.press("escape", "a")
        await it.until(lambda: it.cluster.asked.count("follow") == 2)
        assert it.cluster.followers == 1 and it.cluster.most_followers == 1
        await it.until(lambda: it.app.picture.attached)


async def test_when_the_agents_are_gone_the_header_says_so_and_what_to_press() -> None:
    async with opened(fake.serving()) as it:
        it.cluster.agents_end.set()
        await it.until(lambda: "NOT ATTACHED" in it.seen())
        await it.settle()
        assert "press a to attach again" in it.seen()


async def test_a_leader_that_is_lost_is_said_and_cannot_be_asked() -> None:
    async with opened(fake.serving(), size=LARGE) as it:
        script = fake.Script()
        script.add(
            0, AgentLost(failure=Failure(cause="the connection broke", host="studio")), by_console=True
        )
        it.cluster.play(script.records)
        await it.until(lambda: "LEADER LOST" in it.seen())
        await it.settle()
        assert "✗ lost" in it.seen() and "the connection broke" in it.seen()
        assert "press a to attach again" in it.seen()


# failures -----------------------------------------------------------------------------------------


async def test_a_verb_that_failed_says_where_why_and_what_to_do_until_the_next_attempt() -> None:
    async with opened(size=SMALL) as it:
        it.cluster.failures["start"] = fake.host_error()
        await it.press("s")
        await it.until(lambda: "FAILED" in it.seen())
        it.cluster.play(fake.provisioning())
        await it.press("4", "2")
        assert "✗ rank 2 mini2: no route to mini2.local port 22" in it.seen()
        assert "remedy: is the machine on" in it.seen()
        del it.cluster.failures["start"]
        await it.press("s")
        await it.until(lambda: "SERVING" in it.seen())
        await it.settle()
        assert "no route" not in it.seen()


async def test_a_failed_verb_is_in_the_log() -> None:
    async with opened() as it:
        it.cluster.failures["deploy"] = PlanError("the model needs 40 GiB, the hosts have 24", "add a host")
        await it.press("d")
        await it.until(lambda: it.logs.store.end == 2)
        texts = [it.logs.store[number].text for number in (0, 1)]
        assert texts == ["deploy failed: the model needs 40 GiB, the hosts have 24", "remedy: add a host"]


async def test_attaching_that_failed_stays_until_it_is_tried_again() -> None:
    def refuse(cluster: fake.FakeCluster) -> None:
        cluster.failures["follow"] = HostError("permission denied", "ssh-copy-id", host="mini1", rank=1)

    async with opened(prepare=refuse) as it:
        await it.until(lambda: "✗ rank 1 mini1: permission denied" in it.seen())
        del it.cluster.failures["follow"]
        await it.press("a")
        await it.until(lambda: "permission denied" not in it.seen().splitlines()[1])


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_a_long_failure_is_cut_where_a_key_tells_all_of_it(size: tuple[int, int]) -> None:
    cause = "M does not fit; closest:" + "".join(
        f"\n    rank {n} (mac{n}): 1.0 GiB missing" for n in range(8)
    )
    remedy = "one of these is enough:\n    - write context = 512\n    - add one more host"
    async with opened(fake.stopped(), size=size) as it:
        it.cluster.failures["deploy"] = PlanError(cause, remedy)
        await it.press("d")
        await it.until(lambda: "✗ M does not fit" in it.seen())
        shown = it.seen()
        assert "w tells all of it (12 lines)" in shown and "add one more host" not in shown.split("Logs")[0]
        await it.press("w")
        assert "rank 7 (mac7): 1.0 GiB missing" in it.seen() and "- add one more host" in it.seen()
        await it.press("escape")
        texts = [it.logs.store[number].text for number in range(it.logs.store.end)]
        assert "    - write context = 512" in texts and not any("␊" in text for text in texts)


async def test_a_killed_rank_is_said_everywhere_and_stays() -> None:
    async with opened(fake.rank_killed(), size=LARGE) as it:
        await it.press("2", "4")
        shown = it.seen()
        assert "FAILED" in shown and "✗ rank 1 mini1: the rank was killed (signal 9)" in shown
        assert "✗ failed" in shown and "x x x x x x x x x" in shown
        assert "see what failed under Hosts, then press s to start" in shown


async def test_a_defect_in_a_verb_is_shown_and_logged_and_the_screen_stays() -> None:
    async with opened(fake.stopped()) as it:
        it.cluster.defect = KeyError("of ours")
        await it.press("p")
        await it.until(lambda: "✗ provision: KeyError: 'of ours'" in it.seen())
        it.cluster.defect = None
        await it.press("p")
        await it.until(lambda: "provision: done" in it.said)
        texts = [it.logs.store[number].text for number in range(it.logs.store.end)]
        assert "console failed: provision: KeyError: 'of ours'" in texts


# stopping -----------------------------------------------------------------------------------------


async def test_stop_asks_first_with_cancel_in_focus() -> None:
    async with opened(fake.serving()) as it:
        await it.press("escape", "x")
        focused = it.app.focused
        assert isinstance(it.app.screen, ConfirmStop) and isinstance(focused, Button)
        assert str(focused.label) == "Cancel"
        await it.press("enter")
        assert len(it.app.screen_stack) == 1 and it.cluster.asked == ["follow"]


@pytest.mark.parametrize("keys", [["escape"], ["n"], ["enter"], ["right", "left", "enter"]], ids="-".join)
async def test_stop_is_easily_taken_back(keys: list[str]) -> None:
    async with opened(fake.serving()) as it:
        await it.press("escape", "x", *keys)
        assert len(it.app.screen_stack) == 1 and it.cluster.asked == ["follow"]


@pytest.mark.parametrize("keys", [["y"], ["right", "enter"], ["tab", "enter"]], ids="-".join)
async def test_stop_ends_the_ring_when_it_was_confirmed(keys: list[str]) -> None:
    async with opened(fake.serving()) as it:
        await it.press("escape", "x", *keys)
        await it.until(lambda: it.cluster.asked == ["follow", "stop"])


async def test_a_click_on_the_button_stops_the_ring() -> None:
    async with opened(fake.serving()) as it:
        await it.press("escape", "x")
        await it.pilot.click("#yes")
        await it.until(lambda: "stop" in it.cluster.asked)


async def test_stop_breaks_off_a_start_and_says_so_before() -> None:
    async with opened(start=True, prepare=hold) as it:
        await it.until(lambda: "STARTING" in it.seen())
        await it.press("x")
        assert "start is broken off" in it.seen()
        it.cluster.holding = False
        await it.press("y")
        await it.until(lambda: it.cluster.asked == ["start", "stop"])
        assert it.cluster.cancelled == ["start"]


# leaving ------------------------------------------------------------------------------------------


async def test_leaving_keeps_the_ring_and_says_how_to_come_back() -> None:
    async with opened(fake.serving()) as it:
        await it.pilot.press("tab", "q")
        await it.until(lambda: not it.app.is_running)
        assert it.cluster.asked == ["follow"]
        assert message(it) == "The ring minis keeps serving. `mlxring profiles/minis.toml` opens it again."
    assert it.cluster.closed and it.app.return_code == 0


async def test_leaving_without_a_ring_says_nothing() -> None:
    async with opened(fake.stopped()) as it:
        await it.pilot.press("q")
        await it.until(lambda: not it.app.is_running)
        assert message(it) == ""


async def test_leaving_during_a_start_breaks_it_off() -> None:
    async with opened(start=True, prepare=hold) as it:
        await it.until(lambda: it.cluster.asked == ["start"])
        await it.pilot.press("q")
        await it.until(lambda: not it.app.is_running)
    assert it.cluster.cancelled == ["start"] and it.cluster.closed


async def test_leaving_a_demo_stops_its_ring() -> None:
    async with opened(fake.serving(), quit_stops_ring=True) as it:
        await it.pilot.press("tab", "q")
        await it.until(lambda: not it.app.is_running)
        assert it.cluster.asked == ["follow", "stop"] and message(it) == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
async def test_a_demo_that_is_ended_from_outside_stops_its_ring(number: signal.Signals) -> None:
    async with opened(fake.serving(), quit_stops_ring=True) as it:
        os.kill(os.getpid(), number)
        await it.until(lambda: not it.app.is_running)
    assert it.cluster.asked == ["follow", "stop"] and it.cluster.closed


async def test_a_ring_that_could_not_be_stopped_on_leaving_is_not_left_behind_in_silence() -> None:
    async with opened(fake.serving(), quit_stops_ring=True) as it:
        it.cluster.failures["stop"] = RingError(fake.HOSTILE, "kill it on mini1", host="mini1")
        await it.pilot.press("tab", "q")
        await it.until(lambda: not it.app.is_running)
        assert "The ring minis was not stopped. mini1: [red]x[/]" in message(it)
        assert "remedy: kill it on mini1" in message(it) and "\x1b" not in message(it)
        assert all(isinstance(part, Text) for part in it.app._exit_renderables)
    assert it.app.return_code == RingError.exit_code


async def test_leaving_twice_leaves_at_once() -> None:
    async with opened(fake.serving(), quit_stops_ring=True) as it:
        it.cluster.holding = True
        await it.pilot.press("tab", "q")
        await it.until(lambda: "STOPPING" in it.seen())
        assert "q again leaves at once" in it.said
        await it.pilot.press("q")
        await it.until(lambda: not it.app.is_running)


async def test_connections_that_do_not_let_go_do_not_hold_the_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work, "CLOSE_SECONDS", 0.05)
    async with opened() as it:
        it.cluster.close = asyncio.Event().wait  # type: ignore[method-assign,assignment]
        await it.pilot.press("q")
    assert not it.app.is_running


# at work ------------------------------------------------------------------------------------------


async def test_a_rank_is_at_work_while_its_counter_moves_and_rests_when_it_stands_still() -> None:
    async with opened(fake.serving_busy()) as it:
        assert it.app.picture.working == {0, 1, 2} and it.seen().count("▶ at work") == 3
        it.clock.now += 1.0
        await it.until(lambda: it.seen().count("● ready") == 3)
        assert not it.app.picture.working


async def test_a_rank_that_died_at_work_is_not_drawn_as_working() -> None:
    async with opened(fake.rank_killed()) as it:
        assert not it.app.picture.working and "at work" not in it.seen()
