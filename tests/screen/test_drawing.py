"""What the panes draw, cell by cell: pure functions from the picture to text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from textual.content import Content

from console.reduce import apply
from console.screen.actions import hints
from console.screen.header import header_line
from console.screen.panes.hosts import head_line, host_more, host_row, host_state, way_up
from console.screen.panes.layers import draw_layers
from console.screen.panes.memory import MemoryPane, held, memory_bar, memory_lines, used_of
from console.screen.picture import Picture, headline, why_no_chat
from console.screen.theme import bar, fit, fit_name
from console.state import STEPS, HostView, initial
from ringcore.spec.errors import Failure
from ringcore.spec.events import MemoryPressure, MemoryUsed, PrefixUsed, Recorded, StepCount
from ringcore.spec.shard import Shard
from ringcore.spec.units import GIB, MIB
from tests.screen import fake
from tests.screen.driver import Open, opened

WIDTHS = [50, 56, 76, 110]


def picture(records: list[Recorded], **options: object) -> Picture:
    state = initial(fake.PROFILE)
    for record in records:
        state = apply(state, record)
    return Picture(state=state, attached=True, **options)  # type: ignore[arg-type]


# header -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_the_header_has_everything_at_every_width(width: int) -> None:
    line = header_line(picture(fake.serving_busy()), width)
    assert line.cell_length <= width
    for part in ("minis", "DeepSee", "SERVING", "epoch 1", "3/3 ranks", "14.2 tok/s", "TTFT 0.8 s"):
        assert part in line.plain


def test_the_models_name_gives_way_before_any_figure() -> None:
    assert "Instruct-8bit" in header_line(picture(fake.serving()), 120).plain
    assert "DeepSeek-Coder…" in header_line(picture(fake.serving()), 80).plain
    narrow = header_line(picture(fake.serving()), 60).plain
    assert "DeepSeek" not in narrow and "SERVING" in narrow


def test_what_is_not_known_is_a_dash_and_no_nought() -> None:
    line = header_line(picture(fake.empty()), 120).plain
    assert "epoch -" in line and "- tok/s" in line and "TTFT -" in line


# where do we stand --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "word", "tone"),
    [
        ("empty", "NOT RUNNING", "idle"),
        ("provisioning", "NOT RUNNING", "idle"),
        ("loading", "LOADING", "busy"),
        ("serving", "SERVING", "good"),
        ("unreachable", "FAILED", "bad"),
        ("rank_killed", "FAILED", "bad"),
        ("stopped", "STOPPED", "idle"),
    ],
)
def test_one_word_says_where_the_ring_stands(name: str, word: str, tone: str) -> None:
    assert headline(picture(getattr(fake, name)())) == (word, tone)


@pytest.mark.parametrize(
    ("verb", "word"),
    [("provision", "PROVISIONING"), ("deploy", "DEPLOYING"), ("start", "STARTING"), ("stop", "STOPPING")],
)
def test_the_operators_own_verb_counts_more(verb: str, word: str) -> None:
    assert headline(picture(fake.stopped(), busy=verb)) == (word, "busy")


def test_a_start_that_has_come_to_loading_says_so() -> None:
    assert headline(picture(fake.loading(), busy="start"))[0] == "LOADING"


def test_a_ring_that_nobody_follows_any_more_is_not_called_serving() -> None:
    assert headline(structs.replace(picture(fake.serving()), attached=False)) == ("NOT ATTACHED", "bad")


def test_only_a_serving_ring_that_we_follow_can_be_asked() -> None:
    assert why_no_chat(picture(fake.serving())) == ""
    for name in ("empty", "loading", "unreachable", "rank_killed", "stopped"):
        assert why_no_chat(picture(getattr(fake, name)()))
    assert why_no_chat(structs.replace(picture(fake.serving()), attached=False))


# hosts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["empty", "provisioning", "loading", "serving_busy", "rank_killed"])
@pytest.mark.parametrize("width", WIDTHS)
def test_rows_of_hosts_fit_and_stand_under_their_heads(name: str, width: int) -> None:
    shown = picture(getattr(fake, name)(), working=frozenset({0}))
    head = head_line(width)
    assert len(head) <= width
    for host in shown.state.hosts:
        row = host_row(host, shown.stage(host.rank), host.rank in shown.working, width)
        assert row.cell_length <= width
        assert row.plain[head.index("state")] in "●○▶✗"


def test_every_state_of_a_host_has_a_sign_of_its_own_besides_the_colour() -> None:
    host = HostView(rank=0, name="a")
    states = {
        "waiting": host_state(host, False),
        "active": host_state(structs.replace(host, status="active"), False),
        "ready": host_state(structs.replace(host, status="done", phase="ready"), False),
        "at work": host_state(structs.replace(host, status="done", phase="ready"), True),
        "stopped": host_state(structs.replace(host, phase="stopped"), False),
        "failed": host_state(structs.replace(host, status="failed"), False),
        "lost": host_state(structs.replace(host, status="failed", lost=True), False),
    }
    assert [text for text, _ in states.values()] == [
        "○ waiting", "▶ reach ...", "● ready", "▶ at work", "○ stopped", "✗ reach failed", "✗ lost",
    ]  # fmt: skip


def test_the_way_up_is_seven_signs() -> None:
    host = HostView(rank=0, name="a", step="provision", status="active", passed=("reach", "facts"))
    assert way_up(host) == "●●▶○○○○"
    assert way_up(structs.replace(host, status="failed")) == "●●✗○○○○"
    assert way_up(structs.replace(host, step="running", status="done", passed=STEPS)) == "●●●●●●●"


def test_a_plan_needs_no_provisioning_and_the_way_up_says_so() -> None:
    script = fake.Script()
    for step in ("reach", "facts", "weights"):
        script.step(0, step)
    assert way_up(picture(script.records).state.hosts[0]) == "●●○●○○○"
    script.step(0, "provision", status="active")
    assert way_up(picture(script.records).state.hosts[0]) == "●●▶●○○○"


def test_a_rank_at_rest_has_no_speed() -> None:
    host = HostView(rank=0, name="a", phase="ready", status="done", step_rate=9.0, busy_share=0.5)
    host = structs.replace(host, count=StepCount(rank=0, steps=7), steps=7)
    assert " 9.0" in host_row(host, None, True, 100).plain and "50%" in host_row(host, None, True, 100).plain
    assert (
        " 0.0" in host_row(host, None, False, 100).plain
        and "50%" not in host_row(host, None, False, 100).plain
    )


# layers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("total", [3, 28, 61, 126])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_layer_is_one_cell_with_the_digit_of_its_rank_in_the_order_of_the_pipeline(
    total: int, width: int
) -> None:
    cuts = (0, total // 3, total * 2 // 3, total)
    stages = tuple(
        structs.replace(stage, shard=Shard(cuts[2 - rank], cuts[3 - rank], total))
        for rank, stage in enumerate(fake.PLAN.stages)
    )
    shown = picture(fake.serving())
    state = structs.replace(shown.state, plan=structs.replace(fake.PLAN, stages=stages))
    lines = draw_layers(structs.replace(shown, state=state), width).plain.splitlines()
    assert all(Content(line).cell_length <= width + 2 for line in lines)
    rows = [line for line in lines if line[5:].replace(" ", "").isdigit()]
    cells = "".join(row[5:].replace(" ", "") for row in rows)
    assert cells == "2" * (cuts[1] - cuts[0]) + "1" * (cuts[2] - cuts[1]) + "0" * (cuts[3] - cuts[2])
    per_row = len(rows[0][5:].replace(" ", ""))
    assert [int(row[:4]) for row in rows] == [per_row * number for number in range(len(rows))]


def test_layers_that_are_not_loaded_yet_and_those_that_failed_have_their_own_signs() -> None:
    loading = draw_layers(picture(fake.loading()), 56).plain.splitlines()[0]
    assert loading.endswith("222222222" + "11111····" + "000·······")
    killed = draw_layers(picture(fake.rank_killed()), 56).plain.splitlines()[0]
    assert killed.endswith("222222222" + "xxxxxxxxx" + "0000000000")


def test_the_legend_names_inclusive_layers_and_marks_who_works() -> None:
    text = draw_layers(picture(fake.serving(), working=frozenset({1})), 110).plain
    assert "2 mini2 0..8 (9)" in text and "▶ 1 mini1 9..17 (9)" in text and "0 studio 18..27 (10)" in text


# memory -------------------------------------------------------------------------------------------

_sizes = st.integers(0, 40 * GIB)


@given(st.tuples(_sizes, _sizes, _sizes, _sizes), st.integers(0, 64 * GIB), st.integers(6, 80))
def test_a_bar_has_its_width_and_a_cell_for_every_part_that_holds_anything(
    sizes: tuple[int, int, int, int], ceiling: int, width: int
) -> None:
    segments = memory_bar(sizes, ceiling, width, dim=False)
    assert sum(len(text) for text, _ in segments) == width
    assert [bool(text) for text, _ in segments[:4]] == [size > 0 for size in sizes]


@given(st.tuples(_sizes, _sizes, _sizes, _sizes))
def test_a_bar_is_to_scale_within_a_cell_for_each_part(sizes: tuple[int, int, int, int]) -> None:
    ceiling, width = 160 * GIB, 80
    segments = memory_bar(sizes, ceiling, width, dim=False)
    used = width - len(segments[4][0])
    assert abs(used - sum(sizes) / ceiling * width) <= 4


def test_what_is_kept_of_earlier_sequences_has_a_part_of_its_own_and_its_use_is_told() -> None:
    script = fake.Script()
    script.records = fake.serving()
    used = PrefixUsed(blocks=12, bytes=2 * GIB, hits=3, reused_tokens=1024, evicted=5)
    memory = next(record.event for record in script.records if isinstance(record.event, MemoryUsed))
    script.add(0, structs.replace(memory, prefix=used))
    shown = picture(script.records)
    drawn = MemoryPane().draw(shown, 110).plain.splitlines()[0]
    assert "▚▚" in drawn and used_of(sum(held(memory)) + 2 * GIB, 48 * GIB) in drawn
    assert MemoryPane().draw(shown, 110).plain.splitlines()[-1] == (
        "kept 12 blocks, 2.0 GiB   3 hits, 1,024 tokens"
    )
    told = dict(memory_lines(shown.state.hosts[0], shown.stage(0)))
    assert told["kept"] == "12 blocks, 2.0 GiB; 3 hits reused 1,024 tokens, 5 blocks evicted"
    assert "2.0 GiB kept" in told["used"] and "on disk" not in told
    on_disk = structs.replace(used, disk_blocks=1200, disk_bytes=30 * GIB, brought=7, damaged=1)
    script.add(0, structs.replace(memory, prefix=on_disk))
    shown = picture(script.records)
    assert MemoryPane().draw(shown, 54).plain.splitlines()[-2:] == [
        "kept 12 blocks, 2.0 GiB   3 hits, 1,024 tokens",
        "disk 1,200 blocks, 30.0 GiB",
    ]
    told = dict(memory_lines(shown.state.hosts[0], shown.stage(0)))
    assert told["on disk"] == (
        "1,200 blocks, 30.0 GiB; 7 blocks came from other hosts; 1 damaged file removed"
    )


def test_caches_of_which_nothing_can_be_kept_are_named_in_the_pane_and_in_the_details() -> None:
    script = fake.Script()
    script.records = fake.serving()
    used = PrefixUsed(blocks=0, bytes=0, hits=0, reused_tokens=0, evicted=0, uncached=("OddCache",))
    memory = next(record.event for record in script.records if isinstance(record.event, MemoryUsed))
    script.add(0, structs.replace(memory, prefix=used))
    shown = picture(script.records)
    assert MemoryPane().draw(shown, 110).plain.splitlines()[-1] == "earlier prompts: not kept: OddCache"
    assert dict(memory_lines(shown.state.hosts[0], shown.stage(0)))["kept"] == "not kept: OddCache"


def test_a_rank_that_is_short_of_memory_says_so_in_its_row() -> None:
    pressure = MemoryPressure(
        rank=1, host="mini1", level="full", used_bytes=11 * GIB, limit_bytes=12 * GIB, source="its ceiling"
    )
    script = fake.Script()
    script.records = fake.serving()
    shown = picture(script.add(1, pressure).records).state.hosts[1]
    assert host_more(shown, 70).plain.startswith("! memory full: 11.0 GiB of 12.0 GiB in use (its ceiling)")


def test_used_and_ceiling_are_in_the_same_unit() -> None:
    assert used_of(int(9.1 * GIB), 12 * GIB) == "9.1/12 GiB"
    assert used_of(200 * MIB, 512 * MIB) == "200.0/512 MiB"


# text ---------------------------------------------------------------------------------------------


@given(st.text(st.characters(categories=("L", "N", "P")), max_size=30), st.integers(3, 20))
def test_a_fitted_text_has_exactly_its_width(text: str, width: int) -> None:
    for fitted in (fit(text, width), fit_name(text, width)):
        assert Content(fitted).cell_length == width
    if Content(text).cell_length <= width:
        assert fit_name(text, width).startswith(text) and fit(text, width).startswith(text)


def test_names_that_differ_at_their_end_stay_apart_when_cut() -> None:
    assert fit_name("mac-studio-1", 8) == "mac…io-1"


@pytest.mark.parametrize(("progress", "cells"), [(-1, 0), (0, 0), (0.5, 4), (1, 8), (7, 8)])
def test_a_progress_bar_stays_in_its_frame(progress: float, cells: int) -> None:
    assert bar(progress, 8) == "█" * cells + "░" * (8 - cells)


def test_hints_say_what_a_key_would_do_now() -> None:
    assert hints("logs") == "f follow  n rank  c copy"
    assert hints("logs", follow="pause") == "f pause  n rank  c copy"


def test_a_failure_of_a_verb_counts_more_than_an_older_one_of_the_ring() -> None:
    newer = Failure(cause="newer")
    assert picture(fake.rank_killed(), failure=newer).shown_failure == newer


def colours(it: Open) -> set[tuple[int, int, int]]:
    """All that are on the screen."""
    strips = it.app.screen._compositor.render_strips()
    styles = [segment.style for strip in strips for segment in strip if segment.style]
    found = [colour.triplet for style in styles for colour in (style.color, style.bgcolor) if colour]
    return {tuple(triplet) for triplet in found if triplet}


async def test_without_colour_the_screen_says_the_same_in_greys(monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(fake.serving_busy()) as it:
        coloured = it.seen()
        assert any(len(set(each)) > 1 for each in colours(it))
    monkeypatch.setenv("NO_COLOR", "1")
    async with opened(fake.serving_busy()) as it:
        assert it.seen() == coloured
        assert {len(set(each)) for each in colours(it)} == {1}
