"""Everything known of one host: follows the ring, tells what was done there, offers what can be done."""

import pytest
from msgspec import structs

from console.logs.actions import ActionLine
from console.reduce import apply
from console.screen.fact_lines import fact_lines
from console.screen.host_details import HostDetails, details, way_up_words
from console.state import initial
from tests.screen import fake
from tests.screen.driver import LARGE, Open, opened
from tests.screen.test_drawing import picture


def text_of(it: Open) -> str:
    assert isinstance(it.app.screen, HostDetails)
    drawn = it.app.screen._drawn
    assert drawn is not None
    return drawn.plain


async def test_the_details_follow_what_happens_while_they_are_open() -> None:
    async with opened(fake.provisioning(), size=LARGE) as it:
        await it.press("1", "down", "enter")
        assert "▶ provision 40%" in it.seen() and "12 of 31 packages" in it.seen()
        script = fake.Script().step(1, "provision", status="active", progress=0.9, detail="28 of 31 packages")
        it.cluster.facts = fake.FACTS
        it.cluster.play(script.records)
        await it.until(lambda: "▶ provision 90%" in it.seen() and "28 of 31 packages" in it.seen())
        assert "Apple M4, 10 cores" in it.seen()


async def test_r_in_the_details_tries_the_host_again_and_a_disabled_action_says_why() -> None:
    async with opened(fake.unreachable(), size=LARGE) as it:
        await it.press("1", "enter")
        assert "nothing failed on studio" in it.seen()
        await it.press("r")
        await it.until(lambda: "retry: nothing failed on studio" in it.said)
        await it.press("escape", "down", "down", "enter", "r")
        await it.until(lambda: it.cluster.asked == ["follow", "retry mini2 reach"])


async def test_what_is_not_known_says_how_it_could_be_now() -> None:
    async with opened(size=LARGE) as it:
        await it.press("1", "enter")
        shown = it.seen()
        assert "not read yet: p, d or s reads them" in shown and "no plan yet: d or s makes one" in shown
    async with opened(fake.serving(), size=LARGE) as it:
        await it.press("escape", "1", "enter")
        assert "not read yet: `mlxring check` tells them while the ring runs" in it.seen()
    left = structs.replace(fake.PLAN, stages=fake.PLAN.stages[:2])
    async with opened(fake.with_plan(fake.stopped(), left), size=LARGE) as it:
        await it.press("1", "down", "down", "enter")
        assert "the plan leaves this host out" in it.seen()


async def test_commands_of_the_audit_log_stand_among_what_was_done() -> None:
    lines = (ActionLine(fake.START + 0.09, "$ /bin/sh -c script-1a2b  → exit 7, 0.3 s", bad=True),)
    asked: list[str] = []

    def audited(host: str) -> tuple[ActionLine, ...]:
        asked.append(host)
        return lines

    async with opened(fake.provisioning(), size=LARGE, audited=audited) as it:
        await it.press("1", "down", "enter")
        await it.until(lambda: "exit 7" in it.seen())
        done = text_of(it).split("What was done")[1].splitlines()
        assert asked == ["mini1"]
        assert [line.split("  ", 1)[1] for line in done if line][:3] == [
            "reach: done, 3 ms away",
            "facts: done, macOS 26.2, arm64",
            "$ /bin/sh -c script-1a2b  → exit 7, 0.3 s",
        ]


async def test_an_error_stays_through_attaching_and_goes_when_its_step_is_tried_again() -> None:
    failure = fake.Failure(cause="no space left", remedy="free some", host="mini1", rank=1)
    async with opened(size=LARGE) as it:
        script = fake.Script().step(1, "provision", status="failed", failure=failure)
        it.cluster.play(script.records)
        await it.until(lambda: "no space left" in it.seen())
        for step in ("reach", "facts"):
            script = fake.Script().step(1, step, status="active")
            it.cluster.play(script.records)
            await it.settle()
            assert f"▶ {step}" in it.seen() and "no space left" in it.seen().split("Layer map")[0]
            it.cluster.play(fake.Script().step(1, step).records)
            await it.settle()
            shown = it.seen().split("Layer map")[0]
            assert "✗ provision failed" in shown and "no space left" in shown
        it.cluster.play(fake.Script().step(1, "provision", status="active", progress=0.1).records)
        await it.until(lambda: "no space left" not in it.seen().split("Layer map")[0])
        assert it.app.state.hosts[1].failure is None


@pytest.mark.parametrize(
    ("name", "rank", "reason"),
    [
        ("unreachable", 0, "nothing failed on studio"),
        ("unreachable", 2, ""),
        ("serving", 1, "the ring runs; stop it first with x"),
        ("rank_killed", 1, "the rank on mini1 is part of the whole ring: s starts all of them"),
    ],
)
def test_retrying_says_why_it_makes_no_sense(name: str, rank: int, reason: str) -> None:
    from console.screen.actions import BY_ID

    assert BY_ID["retry"].why_not(picture(getattr(fake, name)(), chosen=rank)) == reason


def test_the_way_up_names_its_steps() -> None:
    state = initial(fake.PROFILE)
    for record in fake.provisioning():
        state = apply(state, record)
    assert way_up_words(state.hosts[1]) == (
        "● reach  ● facts  ▶ provision 40%  ○ weights  ○ deploy  ○ start  ○ running"
    )


def test_facts_are_told_as_far_as_they_are_known() -> None:
    told = dict(fact_lines(fake.FACTS["mini1"]))
    assert told["memory"] == "11.0 GiB free of 16.0 GiB"
    assert told["addresses"] == "192.168.5.2 (bridge0, thunderbolt), 10.0.0.2 (en0, wifi)"
    assert told["clock"] == "3 s ahead of this machine" and "3.9.6 (no venv)" in told["pythons"]
    assert fact_lines(None) == []


def test_who_has_rows_of_the_head_is_told() -> None:
    now = picture(fake.serving())
    assert now.plan is not None
    shared = structs.replace(now.state, plan=structs.replace(now.plan, head_rows=24_512))
    for drawn, of_first, of_last in (
        (now, ", embedding\n", ", norm and head\n"),
        (structs.replace(now, state=shared), ", embedding, 24,512 rows of the head\n", "head's other rows\n"),
    ):
        hosts = [stage.host for stage in now.plan.pipeline]
        assert of_first in details(drawn, hosts[0], None, []).plain
        assert of_last in details(drawn, hosts[-1], None, []).plain


def test_only_the_last_two_hundred_lines_of_what_was_done_are_told() -> None:
    log = [ActionLine(fake.START + n, f"line {n}") for n in range(200)]
    text = details(picture(fake.empty()), "mini1", None, log).plain
    assert "the last 200 lines" in text and "line 0\n" in text and text.endswith("line 199")
