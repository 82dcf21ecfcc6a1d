"""Nothing that comes from a host or a model is interpreted: no markup, no links, no escape codes."""

import re

import pytest
from msgspec import structs

from console.screen.host_details import HostDetails
from ringcore.spec.errors import Failure, HostError, RingError
from ringcore.spec.events import LogLine, MemoryUsed, RankChanged, RingChanged, StepCount
from tests.screen import fake
from tests.screen.driver import LARGE, MIDDLE, SMALL, Open, opened

SAFE = "[red]x[/] [@click=app.quit]y[/] red"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e]")


def harmless(it: Open) -> bool:
    """No control character reached the screen, and no text became a link or an action."""
    styles = [
        segment.style
        for strip in it.app.screen._compositor.render_strips()
        for segment in strip
        if segment.style is not None
    ]
    actions = {str(style.meta) for style in styles if "@click" in style.meta}
    return not UNSAFE.search(it.seen()) and not actions and not any(style.link for style in styles)


@pytest.mark.parametrize("size", [SMALL, MIDDLE, LARGE])
async def test_hostile_text_is_shown_letter_by_letter_in_every_pane(size: tuple[int, int]) -> None:
    async with opened(fake.hostile(), size=size) as it:
        await it.press("escape")
        for key in "12345":
            await it.press(key)
            assert harmless(it)
            await it.press("escape")
        await it.press("1")
        assert SAFE in it.seen()
        await it.press("4")
        assert SAFE.split(" [@")[0] in it.seen() and "[/nothing to close]" in it.seen()


async def test_hostile_text_is_harmless_in_the_details_of_a_host() -> None:
    async with opened(fake.hostile(), size=LARGE) as it:
        await it.press("escape", "1", "down", "enter")
        assert isinstance(it.app.screen, HostDetails) and SAFE in it.seen() and harmless(it)


async def test_a_hostile_failure_is_harmless_in_banner_and_log() -> None:
    async with opened() as it:
        it.cluster.failures["deploy"] = HostError(fake.HOSTILE, fake.HOSTILE, host="mini1", rank=1)
        await it.press("d")
        await it.until(lambda: f"✗ rank 1 mini1: {SAFE}" in it.seen())
        await it.settle()
        assert f"remedy: {SAFE}" in it.seen() and harmless(it)


async def test_a_hostile_failure_of_an_answer_is_harmless() -> None:
    async with opened(fake.serving(), size=LARGE) as it:
        it.cluster.failures["chat"] = RingError(fake.HOSTILE, fake.HOSTILE)
        await it.ask("why")
        await it.until(lambda: f"✗ {SAFE}" in it.seen())
        assert harmless(it)


async def test_a_question_is_shown_as_it_was_typed() -> None:
    async with opened(fake.serving()) as it:
        await it.ask("[b]a[/] [/x]")
        await it.until(lambda: bool(it.cluster.finished_chats) and not it.prompt.answering)
        assert "█ [b]a[/] [/x]" in it.seen()


async def test_escape_codes_in_an_answer_do_not_reach_the_terminal() -> None:
    async with opened(fake.serving()) as it:
        it.cluster.answer = ("one \x1b[31mred\x1b[0m ", "two \x1b]0;tit", "le\x07 three \x9b31m\u202e")
        await it.ask("why")
        await it.until(lambda: bool(it.cluster.finished_chats) and not it.prompt.answering)
        await it.settle()
        assert "one" in it.seen() and "three" in it.seen() and harmless(it)
        assert "one \u241b[31mred" in it.seen() and "\x1b" not in it.prompt.messages[-1].content


async def test_a_hostile_name_of_a_ring_and_a_model_is_harmless_in_header_and_dialog() -> None:
    profile = structs.replace(fake.PROFILE, name="[@click=app.quit]n[/]", model="/m/[red]model\x1b[31m")
    async with opened(fake.serving(), profile=profile, size=LARGE) as it:
        assert " [red]model " in it.seen() and harmless(it)
        await it.press("escape", "x")
        assert "[@click=app.quit]n[/]" in it.seen() and harmless(it)


async def test_absurd_figures_do_not_break_the_screen() -> None:
    script = fake.Script()
    script.add(0, RingChanged(phase="serving", epoch=10**9, plan=fake.PLAN))
    script.add(0, RankChanged(rank=99, phase="loading", progress=-7.0, detail="\x1b" * 9))
    script.add(1, StepCount(rank=-1, steps=-(10**18), busy_seconds=-1e300))
    huge = 10**21
    script.add(
        1,
        MemoryUsed(
            rank=1, weight_bytes=-huge, kv_bytes=huge, workspace_bytes=0, resident_bytes=0, available_bytes=0
        ),
    )
    script.time = 1e300
    script.add(2, LogLine(source="rank", level="ERROR", text="x" * 100_000, rank=77))
    async with opened(script.records) as it:
        assert "??:??:??" in it.seen() and harmless(it)
        for key in ("escape", "1", "enter", "escape", "4", "c"):
            await it.press(key)
        assert it.app.is_running


async def test_a_plan_for_more_hosts_than_the_profile_has_is_shown() -> None:
    stages = tuple(
        structs.replace(fake.PLAN.stages[0], rank=rank, host=f"h{rank}", shard=stage.shard)
        for rank, stage in enumerate((*fake.PLAN.stages, fake.PLAN.stages[0]))
    )
    script = fake.Script().add(
        0, RingChanged(phase="serving", epoch=1, plan=structs.replace(fake.PLAN, stages=stages))
    )
    async with opened(script.records) as it:
        assert "h3 18..27" in it.seen()


async def test_a_plan_and_a_failure_with_hostile_hosts_are_harmless() -> None:
    stages = tuple(structs.replace(stage, host=f"{stage.rank}{fake.HOSTILE}") for stage in fake.PLAN.stages)
    plan = structs.replace(fake.PLAN, stages=stages, model=fake.HOSTILE)
    failure = Failure(cause="it ended", host=fake.HOSTILE)
    script = fake.Script().add(0, RingChanged(phase="failed", epoch=1, plan=plan, failure=failure))
    async with opened(script.records, size=LARGE) as it:
        assert f"0{SAFE}" in it.seen() and f"✗ {SAFE}" in it.seen() and harmless(it)
