"""A plan with its boundaries moved: what it takes and reaches, without asking a host again."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ringcore.planning.evaluate import evaluate
from ringcore.planning.plan import make_plan
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import NetworkAddress
from ringcore.spec.plan import Plan
from ringcore.spec.units import GIB, MIB
from tests.planning.worlds import facts, hosts, model, profile

MIXED = facts(8 * GIB, chip="Apple M2 Ultra") + facts(8 * GIB, 2 * GIB, chip="Apple M4")


def plan(**ring: object) -> Plan:
    return make_plan(model(12), profile(hosts(3), **ring), MIXED, {})


@given(
    cuts=st.sets(st.integers(1, 11), min_size=2, max_size=2), order=st.sampled_from(["reverse", "forward"])
)
@settings(max_examples=60, deadline=None)
def test_a_moved_plan_is_the_plan_of_these_layers_by_hand(cuts: set[int], order: str) -> None:
    first, second = sorted(cuts)
    layers = (first, second - first, 12 - second)
    moved = evaluate(plan(order=order), layers)
    assert moved.layers == layers
    try:
        by_hand = plan(order=order, layers=layers)
    except PlanError:
        assert not moved.fits
        return
    assert moved.fits and moved.stages == by_hand.stages
    assert moved.rates.alone == by_hand.tokens_per_second
    assert moved.rates.together == by_hand.tokens_per_second_together


def test_the_plans_own_layers_give_the_plan_back_even_from_a_file() -> None:
    made = plan(sequences=4)
    again = msgspec.json.decode(msgspec.json.encode(made), type=Plan)
    moved = evaluate(again, [stage.shard.count for stage in made.stages])
    assert (moved.stages, moved.rates.alone) == (made.stages, made.tokens_per_second)


def test_a_rank_over_its_ceiling_is_named_with_what_is_missing() -> None:
    small = make_plan(model(40), profile(hosts(3)), facts(8 * GIB, 8 * GIB, 2 * GIB), {})
    moved = evaluate(small, (5, 5, 30))
    assert not moved.fits and len(moved.over) == 1
    assert "rank 2 (h2)" in moved.over[0] and "missing" in moved.over[0]
    assert moved.stages[2].free_bytes < 0 <= moved.stages[0].free_bytes


@pytest.mark.parametrize("layers", [(6, 6), (6, 6, 1), (12, 0, 0), (13, -1, 0)])
def test_numbers_that_are_no_split_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(PlanError, match="12 layers over 3 ranks"):
        evaluate(plan(), layers)


def test_a_plan_without_a_card_cannot_be_moved() -> None:
    with pytest.raises(PlanError, match="does not say"):
        evaluate(structs.replace(plan(), card=None), (4, 4, 4))


def test_the_rank_with_the_longest_step_sets_the_pace() -> None:
    moved = evaluate(plan(), (2, 8, 2))
    assert moved.rates.slowest == 1
    assert moved.rates.step_seconds == max(stage.seconds for stage in moved.stages)


def test_alone_the_stages_and_hops_add_up_and_together_the_slowest_counts() -> None:
    alone, together = plan(sequences=1), plan(sequences=6)
    seconds = sum(stage.seconds + stage.link_seconds for stage in alone.stages)
    assert alone.tokens_per_second == pytest.approx(1 / seconds)
    assert alone.tokens_per_second_together == pytest.approx(alone.tokens_per_second)
    lazy = make_plan(model([400 * MIB] * 12), profile(hosts(3), sequences=6), facts(*[8 * GIB] * 3), {})
    slowest = max(stage.seconds for stage in lazy.stages)
    assert lazy.tokens_per_second_together == pytest.approx(6 / (3 * slowest))
    slowest = max(stage.seconds for stage in together.stages)
    assert together.tokens_per_second_together < 6 / (3 * slowest), "here the links take longer"


def test_the_link_of_the_address_in_the_profile_counts() -> None:
    def on(kind: str) -> Plan:
        told = [
            structs.replace(fact, addresses=(NetworkAddress("en0", f"10.0.0.{n + 1}", kind),))
            for n, fact in enumerate(MIXED)
        ]
        return make_plan(model(12), profile(hosts(3)), told, {})

    assert (
        on("wifi").tokens_per_second < on("ethernet").tokens_per_second < on("thunderbolt").tokens_per_second
    )


def test_a_decode_step_on_a_known_gpu_comes_out_as_it_was_measured() -> None:
    """Llama-3-8B's shape, 4-bit, on an H100 of 3,350 GB/s: 183 tokens/s were measured."""
    card = model([140_000_000] * 32, head_bytes=295_000_000, norm_bytes=8192)
    known = make_plan(card, profile(hosts(1), context=256), facts(64 * GIB), {})
    stage = structs.replace(known.stages[0], bytes_per_second=0.85 * 3.35e12)
    moved = evaluate(structs.replace(known, stages=(stage,)), (32,))
    assert moved.rates.alone == pytest.approx(183, rel=0.05)
