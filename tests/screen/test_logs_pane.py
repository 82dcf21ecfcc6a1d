"""The lines of all ranks: following and pausing, filters, copying."""

import time

import pytest

from console.logs.store import CAPACITY
from console.screen.panes.log_lines import clock
from tests.screen import fake
from tests.screen.driver import SMALL, Open, opened


def flood(first: int, end: int) -> list:
    """Numbered lines, each rank in turn."""
    script = fake.Script()
    for number in range(first, end):
        script.log(number % 3, f"line {number:05}")
    return script.records


def in_view(it: Open) -> list[str]:
    store = it.logs.store
    return [store[number].text for number in it.logs.lines.visible_numbers()]


async def more(it: Open, first: int, end: int) -> None:
    it.cluster.play(flood(first, end))
    await it.until(lambda: it.logs.store.end == end)


# following ----------------------------------------------------------------------------------------


async def test_the_newest_line_stays_in_view() -> None:
    async with opened(flood(0, 200)) as it:
        await more(it, 200, 260)
        assert in_view(it)[-1] == "line 00259"
        assert "following" in it.seen()


@pytest.mark.parametrize("key", ["up", "pageup", "home", "f"])
async def test_moving_up_pauses_and_new_lines_do_not_move_what_is_read(key: str) -> None:
    async with opened(flood(0, 200)) as it:
        await it.press("4", key)
        assert "PAUSED" in it.seen() and "f follow" in it.seen()
        reading = in_view(it)
        await more(it, 200, 260)
        assert in_view(it) == reading


@pytest.mark.parametrize("key", ["end", "f"])
async def test_the_end_is_where_it_follows_again(key: str) -> None:
    async with opened(flood(0, 200)) as it:
        await it.press("4", "pageup", "pageup", key)
        await it.until(lambda: it.logs.lines.following)
        await more(it, 200, 260)
        assert in_view(it)[-1] == "line 00259" and "PAUSED" not in it.seen()


async def test_scrolling_down_to_the_last_line_follows_again() -> None:
    async with opened(flood(0, 200)) as it:
        await it.press("4", "up", "up")
        assert not it.logs.lines.following
        await it.press("down", "down")
        assert it.logs.lines.following


async def test_the_wheel_pauses_too() -> None:
    async with opened(flood(0, 200)) as it:
        it.logs.lines.scroll_up(animate=False, immediate=True)
        await it.until(lambda: not it.logs.lines.following)
        await it.settle()
        assert "PAUSED" in it.seen()


async def test_lines_that_are_dropped_under_a_paused_reader_do_not_shift_the_others() -> None:
    async with opened(flood(0, 100)) as it:
        it.logs.store.capacity = 100  # as many as there are: each new line drops one
        await it.press("4", "up", "up", "up")
        reading = in_view(it)
        await more(it, 100, 130)
        assert in_view(it) == reading
        assert "oldest 30 dropped" in it.seen()


def test_the_store_keeps_a_long_story() -> None:
    assert CAPACITY >= 50_000


# filters ------------------------------------------------------------------------------------------


async def test_a_filter_shows_what_has_the_text_while_it_is_typed() -> None:
    async with opened(fake.rank_killed()) as it:
        await it.press("slash", *"LINK")
        assert len(in_view(it)) == 3 and all("link" in line for line in in_view(it))
        assert "/LINK" in it.seen() and "3 of 31 lines" in it.seen()


async def test_enter_keeps_the_filter_and_new_lines_pass_through_it() -> None:
    async with opened(flood(0, 50)) as it:
        await it.press("slash", *"5", "enter")
        assert it.logs.lines.has_focus
        await more(it, 50, 60)
        assert in_view(it) == [f"line {n:05}" for n in range(60) if "5" in str(n)]


async def test_escape_shows_all_lines_again() -> None:
    async with opened(flood(0, 9)) as it:
        await it.press("slash", *"nothing like it")
        assert in_view(it) == []
        await it.press("escape")
        assert len(in_view(it)) == 9 and it.logs.lines.has_focus and not it.logs._filter.display


async def test_a_filter_is_text_and_no_pattern_or_markup() -> None:
    async with opened(fake.hostile()) as it:
        await it.press("escape", "slash", *"[/nothing")
        assert in_view(it) == ["[/nothing to close]"] and "/[/nothing" in it.seen()


async def test_one_rank_after_the_other_and_then_all() -> None:
    async with opened(flood(0, 9)) as it:
        await it.press("4")
        seen_ranks = []
        for _ in range(4):
            await it.press("n")
            seen_ranks.append(
                {line.rank for line in map(it.logs.store.__getitem__, it.logs.lines.visible_numbers())}
            )
        assert seen_ranks == [{0}, {1}, {2}, {0, 1, 2}]


async def test_rank_and_text_together() -> None:
    async with opened(flood(0, 30)) as it:
        await it.press("4", "n", "n", "slash", *"1", "enter")
        assert in_view(it) == [f"line {n:05}" for n in range(30) if "1" in str(n) and n % 3 == 1]
        assert "rank 1 only" in it.seen()


# copying ------------------------------------------------------------------------------------------


async def test_without_a_selection_what_is_in_view_is_copied_with_full_times() -> None:
    async with opened(flood(0, 5), size=SMALL) as it:
        await it.press("4", "c")
        lines = it.app.clipboard.splitlines()
        assert len(lines) == 5 and lines[0] == "06:00:00.020 0  INFO  line 00000"
        assert "Copied 5 lines" in it.said


async def test_lines_selected_by_mouse_are_copied() -> None:
    async with opened(flood(0, 9)) as it:
        await it.pilot.mouse_down("#logs LogLines", offset=(0, 2))
        await it.pilot.hover("#logs LogLines", offset=(30, 4))
        await it.pilot.mouse_up("#logs LogLines", offset=(30, 4))
        await it.press("c")
        copied = it.app.clipboard.splitlines()
        assert [line[-10:] for line in copied] == ["line 00002", "line 00003", "line 00004"]


async def test_nothing_in_view_is_nothing_to_copy() -> None:
    async with opened() as it:
        await it.press("4", "c")
        assert it.app.clipboard == "" and it.said == ""


# long lines and odd times -------------------------------------------------------------------------


async def test_a_line_that_goes_on_says_so_and_can_be_read_to_its_end() -> None:
    script = fake.Script().log(0, "begin " + "x" * 150 + " the end")
    async with opened(script.records, size=SMALL) as it:
        await it.press("4")
        row = it.seen().splitlines()[3]
        assert "begin xxx" in row and "›" in row and "‹" not in row
        await it.press(*["right"] * 8)
        row = it.seen().splitlines()[3]
        assert "the end" in row and "‹" in row and "›" not in row
        await it.press(*["left"] * 8)
        assert "begin xxx" in it.seen().splitlines()[3]


async def test_a_line_that_fits_has_no_mark() -> None:
    async with opened(flood(0, 3), size=SMALL) as it:
        await it.press("4")
        assert "›" not in it.seen()


def test_times_are_those_of_the_operators_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert clock(fake.START, milliseconds=True) == "06:00:00.000"
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    assert clock(fake.START + 0.25, milliseconds=True) == "11:30:00.250"
    assert clock(fake.START, milliseconds=False) == "11:30:00"


@pytest.mark.parametrize("seconds", [1e300, -1e300])
def test_a_time_that_no_calendar_has_is_shown_as_unknown(seconds: float) -> None:
    assert clock(seconds, milliseconds=True) == "??:??:??.???"
    assert clock(seconds, milliseconds=False) == "??:??:??"
