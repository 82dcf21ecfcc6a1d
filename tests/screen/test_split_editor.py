"""Moving the boundaries between ranks: what is shown at once, what is refused, what is written."""

from pathlib import Path

import pytest
from msgspec import structs

from console.screen.dialogs import Confirm
from console.screen.split_editor import SplitEditor, replanned, why_no_editor
from console.screen.split_text import draw_split
from console.screen.splitting import why_other_hosts
from ringcore.planning.evaluate import evaluate
from ringcore.planning.plan import make_plan
from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile
from ringcore.spec.profile_file import load_profile
from ringcore.spec.units import GIB, MIB
from tests.planning import worlds
from tests.screen import fake
from tests.screen.driver import LARGE, SMALL, Open, opened

FILE = """\
name = "minis"
model = "~/models/DeepSeek"

[ring]          # how
context = 8192  # enough

[[hosts]]
name = "studio"
ssh = "op@studio.local"
address = "192.168.5.1"

[[hosts]]       # under the desk
name = "mini1"
ssh = "op@mini1.local"
address = "192.168.5.2"

[[hosts]]
name = "mini2"
ssh = "op@mini2.local"
address = "192.168.5.3"
"""


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    path = tmp_path / "minis.toml"
    path.write_text(FILE)
    return load_profile(path)


def text_of(profile: Profile) -> str:
    return Path(profile.path).read_text()


def rewrite(profile: Profile, old: str, new: str) -> Profile:
    """The file changes behind the console's back, or before it is opened."""
    Path(profile.path).write_text(text_of(profile).replace(old, new))
    return load_profile(Path(profile.path))


def editor(it: Open) -> SplitEditor:
    assert isinstance(it.app.screen, SplitEditor)
    return it.app.screen


async def test_arrows_move_the_chosen_boundary_and_tab_chooses_the_next() -> None:
    async with opened(fake.stopped()) as it:
        await it.press("e")
        assert editor(it).split.now.layers == (10, 9, 9)
        await it.press("right", "right", "left")
        assert editor(it).split.now.layers == (10, 8, 10)
        await it.press("tab", "left", "left")
        assert editor(it).split.now.layers == (12, 6, 10)
        await it.press("shift+tab", "shift+left")
        assert editor(it).split.now.layers == (12, 11, 5)
        await it.press("tab", "tab", "right")
        assert editor(it).split.now.layers == (12, 10, 6)


async def test_a_boundary_stops_before_a_rank_would_have_no_layer() -> None:
    async with opened(fake.stopped()) as it:
        await it.press("e", *["shift+left"] * 4)
        assert editor(it).split.now.layers == (10, 17, 1)
        await it.press("left")
        assert editor(it).split.now.layers == (10, 17, 1)


async def test_every_move_shows_memory_slowest_stage_and_speed_at_once() -> None:
    async with opened(fake.stopped()) as it:
        await it.press("e", "tab", "left")
        expected = evaluate(fake.PLAN, (11, 8, 9))
        before = evaluate(fake.PLAN, (10, 9, 9))
        shown = it.seen()
        assert f"{expected.rates.alone:.1f} tok/s of one conversation" in shown
        assert f"before {before.rates.alone:.1f}" in shown
        assert f"2 mini2, {expected.rates.step_seconds * 1000:.1f} ms a step" in shown
        assert "layers = [11, 8, 9]" in shown and "every rank has room" in shown
        assert "0..8    (9)" in shown and "9..16   (8)" in shown and "17..27  (11)" in shown


async def test_a_split_over_a_ceiling_is_told_in_words_and_cannot_be_written(profile: Profile) -> None:
    async with opened(fake.stopped(), profile=profile) as it:
        await it.press("e", "tab", *["shift+right"] * 2)
        shown = it.seen()
        assert "✗ rank 1 (mini1) would need" in shown and "missing" in shown and "! " in shown
        assert "this split cannot be written" in shown
        await it.press("enter")
        assert not isinstance(it.app.screen, Confirm)
        assert "Not written: this split does not fit" in it.seen()
        await it.press("u")
        assert editor(it).split.now.layers == (10, 9, 9) and "Not written" not in it.seen()
    assert text_of(profile) == FILE


async def test_enter_asks_and_writes_the_layers_and_nothing_else(profile: Profile) -> None:
    async with opened(fake.stopped(), profile=profile) as it:
        await it.press("e", "right", "enter")
        assert isinstance(it.app.screen, Confirm) and "layers = [10, 8, 10]" in it.seen()
        await it.press("y")
        assert len(it.app.screen_stack) == 1
        assert text_of(profile) == FILE.replace("# enough\n", "# enough\nlayers = [10, 8, 10]\n")
        assert it.cluster.profile.ring.layers == (10, 8, 10)
        await it.until(lambda: "0..9" in it.seen())
        await it.press("e")
        assert editor(it).split.before.layers == (10, 8, 10)


async def test_a_question_that_is_taken_back_goes_on_with_the_editor(profile: Profile) -> None:
    async with opened(fake.stopped(), profile=profile) as it:
        await it.press("e", "right", "enter", "enter")  # Cancel is in focus
        assert editor(it).split.now.layers == (10, 8, 10)
        await it.press("escape")
        assert len(it.app.screen_stack) == 1
    assert text_of(profile) == FILE


async def test_the_choice_can_be_given_back_to_the_planner(profile: Profile) -> None:
    by_hand = rewrite(profile, "# enough\n", "# enough\nlayers = [10, 9, 9]\n")
    async with opened(fake.stopped(), profile=by_hand) as it:
        await it.press("e", "p", "y")
        assert text_of(profile) == FILE and it.cluster.profile.ring.layers == ()


async def test_what_cannot_be_written_is_told_and_the_split_is_kept(profile: Profile) -> None:
    async with opened(fake.stopped(), profile=profile) as it:
        rewrite(profile, '"mini2"', '"mini9"')
        await it.press("e", "right", "enter", "y")
        assert "remedy: leave the console and open it again" in it.seen()
        assert editor(it).split.now.layers == (10, 8, 10)


async def test_a_ring_without_a_file_can_be_looked_at_but_not_written() -> None:
    async with opened(fake.stopped(), profile=structs.replace(fake.PROFILE, path="")) as it:
        await it.press("e", "right", "enter")
        assert "this ring has no profile file" in it.seen() and editor(it)


async def test_a_ring_that_runs_keeps_its_split_until_its_next_start(profile: Profile) -> None:
    async with opened(fake.serving(), profile=profile) as it:
        await it.press("escape", "e")
        assert "counts from its next start" in it.seen()
        await it.press("right", "enter", "y")
        await it.until(lambda: len(it.app.screen_stack) == 1)
        assert it.app.picture.plan is it.app.state.plan and it.cluster.profile.ring.layers == (10, 8, 10)


async def test_without_a_plan_one_is_made_first() -> None:
    async with opened() as it:
        await it.press("e")
        await it.until(lambda: isinstance(it.app.screen, SplitEditor))
        assert it.cluster.asked == ["follow", "plan"] and it.app.picture.plan is fake.PLAN
        await it.press("escape")
        await it.until(lambda: "18..27" in it.seen())


async def test_a_model_that_does_not_fit_says_so_instead() -> None:
    async with opened() as it:
        it.cluster.failures["plan"] = PlanError("M does not fit", "take a smaller model")
        await it.press("e")
        await it.until(lambda: "✗ M does not fit" in it.seen())
        assert len(it.app.screen_stack) == 1


def of_hosts(*names: str) -> Plan:
    """The plan with these hosts in rank order."""
    stages = [structs.replace(stage, host=name) for stage, name in zip(fake.PLAN.stages, names, strict=False)]
    return structs.replace(fake.PLAN, stages=tuple(stages))


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        (("x0", "mini1", "x2"), ("names x0 and x2, which the profile does not have", "d plans")),
        (
            ("studio", "mini2", "mini1"),
            ("studio, mini2 and mini1", "arrange = false", "open the console again"),
        ),
        (("studio", "mini2"), ("throughput leaves out mini1", "take it out of the profile")),
        (("studio",), ("leaves out mini1 and mini2", "take them out")),
    ],
)
async def test_a_plan_of_other_hosts_says_which_and_what_to_write(
    hosts: tuple[str, ...], words: tuple[str, ...]
) -> None:
    async with opened(fake.with_plan(fake.stopped(), of_hosts(*hosts))) as it:
        await it.press("e")
        assert all(each in it.said for each in words)
        assert len(it.app.screen_stack) == 1


def test_hosts_that_are_left_out_and_in_another_order_are_both_told(profile: Profile) -> None:
    four = structs.replace(profile, hosts=(*profile.hosts, structs.replace(profile.hosts[0], name="mini3")))
    said = why_other_hosts(of_hosts("studio", "mini3", "mini1"), four)
    assert "leaves out mini2" in said and "studio, mini3 and mini1" in said
    assert why_other_hosts(of_hosts("studio", "mini1", "mini2"), profile) == ""


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (structs.replace(fake.PLAN, card=None), "does not say what its layers weigh"),
        (structs.replace(fake.PLAN, stages=fake.PLAN.stages[:1]), "there is no boundary"),
        (fake.PLAN, ""),
    ],
)
def test_a_plan_that_cannot_be_edited_says_why(plan: Plan, words: str) -> None:
    reason = why_no_editor(plan)
    assert words in reason and bool(words) == bool(reason)


def test_a_moved_plan_shares_the_head_as_the_planner_will_from_the_file() -> None:
    size = 400 * MIB
    card = worlds.model(12, tied=True, head_bytes=size, embedding_bytes=size, vocab_size=32_000)

    def of(**ring: object) -> Plan:
        return make_plan(card, worlds.profile(worlds.hosts(2), **ring), worlds.facts(*[8 * GIB] * 2), {})

    moved, written = replanned(of(), (5, 7)), of(layers=(5, 7))
    assert 0 < moved.head_rows == written.head_rows != of().head_rows
    assert moved.stages == written.stages
    structs.replace(moved, hash="").check()


@pytest.mark.parametrize("width", [64, 72, 104, 180])
@pytest.mark.parametrize("layers", [(10, 9, 9), (1, 1, 26), (26, 1, 1), (2, 20, 6)])
def test_no_line_is_wider_than_the_room(width: int, layers: tuple[int, ...]) -> None:
    from console.screen.split_text import Split

    now, before = evaluate(fake.PLAN, layers), evaluate(fake.PLAN, (10, 9, 9))
    for chosen in (0, 1):
        text = draw_split(Split(plan=fake.PLAN, before=before, now=now, chosen=chosen), width)
        wide = [line for line in text.split("\n") if line.cell_length > width]
        assert all(line.plain.startswith(("✗", "so this")) for line in wide)


@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_the_editor_fits_the_terminal(size: tuple[int, int]) -> None:
    async with opened(fake.stopped(), size=size) as it:
        await it.press("e")
        assert "layers = [10, 9, 9]" in it.seen() and "every rank has room" in it.seen()
