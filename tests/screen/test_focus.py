"""Which panes are seen at which size, and how the operator moves between them."""

import pytest

from console.screen.bars import Tab
from console.screen.host_details import HostDetails
from console.screen.layout import PANES, layout_for
from console.screen.panes.hosts import HostItem
from tests.screen import fake
from tests.screen.driver import LARGE, MIDDLE, SMALL, Open, opened

SIZES = [SMALL, MIDDLE, LARGE]


def panes_seen(it: Open) -> list[str]:
    return [name for name, pane in it.app._body.panes.items() if pane.region.area and pane.display]


@pytest.mark.parametrize(
    ("size", "layout"), [((80, 24), "one"), ((120, 29), "one"), (MIDDLE, "grid"), (LARGE, "wide")]
)
def test_the_size_of_the_terminal_decides_how_many_panes_are_seen(size: tuple[int, int], layout: str) -> None:
    assert layout_for(*size) == layout
    assert layout_for(*size, zoomed=True) == "one"


@pytest.mark.parametrize("size", SIZES)
async def test_tab_goes_through_all_panes_and_round_and_shift_tab_back(size: tuple[int, int]) -> None:
    async with opened(fake.stopped(), size=size) as it:
        await it.press("1")
        way = [it.pane]
        for _ in PANES:
            await it.press("tab")
            way.append(it.pane)
        assert way == [*PANES, "hosts"]
        await it.press("shift+tab")
        assert it.pane == "prompt"


@pytest.mark.parametrize("size", SIZES)
async def test_a_number_jumps_to_its_pane(size: tuple[int, int]) -> None:
    async with opened(fake.stopped(), size=size) as it:
        for number, name in enumerate(PANES, start=1):
            await it.press(str(number))
            assert it.pane == name and name in panes_seen(it)


async def test_a_small_terminal_shows_one_pane_and_tabs_with_the_chosen_one_marked() -> None:
    async with opened(fake.stopped(), size=SMALL) as it:
        for number, name in enumerate(PANES, start=1):
            await it.press(str(number))
            assert panes_seen(it) == [name]
            assert [tab.pane for tab in it.app.query(Tab) if tab.has_class("chosen")] == [name]
            # The mark is in the border too: the chosen tab is not told by colour alone.
            assert f" {number} " in it.seen().splitlines()[2]


async def test_a_click_on_a_tab_shows_its_pane() -> None:
    async with opened(fake.stopped(), size=SMALL) as it:
        for tab in it.app.query(Tab):
            await it.pilot.click(tab)
            await it.settle()
            assert panes_seen(it) == [tab.pane] and it.pane == tab.pane


async def test_a_click_into_a_pane_gives_it_the_focus() -> None:
    async with opened(fake.stopped()) as it:
        await it.pilot.click("#logs LogLines")
        assert it.pane == "logs"
        await it.pilot.click("#memory VerticalScroll")
        assert it.pane == "memory"


async def test_a_click_on_a_host_shows_all_that_is_known_of_it() -> None:
    async with opened(fake.serving_busy()) as it:
        await it.pilot.click(list(it.app.query(HostItem))[2])
        await it.until(lambda: isinstance(it.app.screen, HostDetails))
        shown = it.seen()
        assert "Rank 2  mini2" in shown and "0..8, 9 of 28, embedding" in shown and "pid 4102" in shown


async def test_zoom_gives_one_pane_all_the_room_and_gives_it_back() -> None:
    async with opened(fake.stopped()) as it:
        await it.press("4")
        before = it.logs.size
        await it.press("z")
        assert panes_seen(it) == ["logs"] and it.logs.size.width > before.width
        await it.press("2")
        assert panes_seen(it) == ["layers"]
        await it.press("4", "z")
        assert panes_seen(it) == list(PANES) and it.logs.size == before


async def test_a_terminal_that_is_made_smaller_keeps_the_chosen_pane() -> None:
    async with opened(fake.stopped()) as it:
        await it.press("4")
        await it.pilot.resize_terminal(*SMALL)
        await it.settle()
        assert panes_seen(it) == ["logs"] and it.pane == "logs"
        await it.pilot.resize_terminal(*MIDDLE)
        await it.settle()
        assert panes_seen(it) == list(PANES)


async def test_when_the_ring_begins_to_serve_the_prompt_is_ready_for_a_question() -> None:
    async with opened(fake.loading()) as it:
        assert it.pane == "hosts"
        it.cluster.play(fake.serving())
        await it.until(lambda: it.pane == "prompt")


async def test_an_operator_who_looks_elsewhere_is_not_taken_away_when_the_ring_serves() -> None:
    async with opened(fake.loading()) as it:
        await it.press("4")
        it.cluster.play(fake.serving())
        await it.until(lambda: it.app.picture.serving)
        await it.settle()
        assert it.pane == "logs"


@pytest.mark.parametrize("size", [MIDDLE, (108, 30), LARGE])
async def test_eight_ranks_leave_room_for_the_logs(size: tuple[int, int]) -> None:
    profile, records = fake.crowd()
    async with opened(records, size=size, profile=profile) as it:
        assert it.logs.lines.size.height >= 3
        assert it.logs.region.bottom == size[1] - 1
        hosts = list(it.app.query(HostItem))
        await it.press("escape", "1", *["down"] * 7)
        assert hosts[7].region.bottom <= it.app._body.panes["hosts"].region.bottom - 1
        assert "7 mac-" in it.seen()


async def test_j_and_k_move_as_down_and_up_do() -> None:
    async with opened(fake.rank_killed(), size=(120, 30)) as it:
        await it.press("1", "j", "j", "k")
        assert it.app.picture.chosen == 1
        await it.press("4", "g")
        assert it.logs.lines.scroll_offset.y == 0 and not it.logs.lines.following
        await it.press("j")
        assert it.logs.lines.scroll_offset.y == 1
        await it.press("G")
        assert it.logs.lines.following
