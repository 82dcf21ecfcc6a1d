"""The head of two ranks: who may share it, how many rows the first stage gets, when that is better."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ringcore.planning.evaluate import evaluate, needs_of
from ringcore.planning.head import MOST_HIDDEN_BYTES, ROWS_STEP
from ringcore.planning.pace import LAYER_SECONDS, rows_together, times
from ringcore.planning.plan import make_plan
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts, NetworkAddress
from ringcore.spec.plan import Plan
from ringcore.spec.units import GIB, MIB
from tests.checkpoint.files import read_card
from tests.planning.worlds import facts, hosts, local_hosts, model, profile

CHIPS = ("Apple M1", "Apple M4", "Apple M2 Max", "Apple M2 Ultra")


def tied(layers: int | Sequence[int] = 12, head: int = 400 * MIB, **changes: Any) -> ModelCard:
    return model(
        layers,
        **({"tied": True, "head_bytes": head, "embedding_bytes": head, "vocab_size": 32_000} | changes),
    )


def on(kind: str, *chips: str, free: int = 64 * GIB) -> list[HostFacts]:
    """A host for each chip, all on links of this kind."""
    told = [fact for chip in chips for fact in facts(free, chip=chip)]
    return [
        structs.replace(fact, host=f"h{n}", addresses=(NetworkAddress("en0", f"10.0.0.{n + 1}", kind),))
        for n, fact in enumerate(told)
    ]


EVEN = on("thunderbolt", "Apple M4", "Apple M4")


def plan_of(card: ModelCard, told: list[HostFacts] = EVEN, **ring: Any) -> Plan:
    return make_plan(card, profile(hosts(len(told)), **ring), told, {})


def counts(plan: Plan) -> list[int]:
    return [stage.shard.count for stage in plan.stages]


def worst(plan: Plan) -> float:
    return max(stage.seconds for stage in plan.stages)


def layers_seconds(plan: Plan) -> float:
    return evaluate(plan, counts(plan)).rates.layers_seconds


def logits_seconds(plan: Plan) -> float:
    """Of a step, until they are over the link."""
    needs = needs_of(plan)
    rows = rows_together(needs, len(plan.stages))
    return sum(times(plan.stages, needs, rows, plan.head_rows).logits)


def test_two_equal_ranks_have_equal_layers_and_half_of_the_head_each() -> None:
    apart = plan_of(tied(), head="last")
    assert (counts(apart), apart.head_rows) == ([4, 8], 0)
    plan = plan_of(tied())
    assert counts(plan) == [6, 6]
    assert 0.45 * 32_000 < plan.head_rows <= 16_000 and plan.head_rows % ROWS_STEP == 0
    assert [stage.need_bytes for stage in plan.stages] == [
        stage.need_bytes for stage in plan_of(tied(), layers=(6, 6), head="last").stages
    ]
    assert plan.tokens_per_second > apart.tokens_per_second


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_the_plan_says_who_computes_how_much(order: str) -> None:
    plan = plan_of(tied(), order=order)
    first, last = plan.pipeline
    assert any(
        f"rank {first.rank} computes the logits of {plan.head_rows:,} of 32,000 tokens, rank {last.rank}"
        in line
        for line in plan.explanation
    )
    assert any("all of the head on the last stage (h0 " in line for line in plan.explanation)
    assert not any("logits of" in line for line in plan_of(tied(), order=order, head="last").explanation)


def test_a_step_has_a_stages_layers_its_rows_and_its_logits_on_the_link() -> None:
    card, link = tied(), 2.5e9
    plan = plan_of(card, sequences=4)
    first, last = plan.pipeline
    kept, speed = plan.head_rows / card.vocab_size, first.bytes_per_second
    layers = (6 * (100 * MIB + 2 * 512 * 1024)) / speed + 6 * LAYER_SECONDS
    norm = card.norm_bytes / speed
    head, logits = card.head_bytes / speed, 2 * plan.head_rows * 4 / link
    assert first.seconds == pytest.approx(layers + kept * head + logits)
    assert last.seconds == pytest.approx(layers + norm + (1 - kept) * head)
    assert first.seconds == pytest.approx(last.seconds, rel=0.01)


def test_one_conversation_waits_for_the_larger_part_its_logits_and_one_more_round() -> None:
    card = tied()
    plan = plan_of(card, sequences=1)
    first, last = plan.pipeline
    kept, speed = plan.head_rows / card.vocab_size, first.bytes_per_second
    layers = (12 * (100 * MIB + 512 * 1024) + card.norm_bytes) / speed + 12 * LAYER_SECONDS
    head = max(kept, 1 - kept) * card.head_bytes / speed
    hops = 2 * (first.link_seconds + last.link_seconds)
    seconds = layers + head + plan.head_rows * 4 / 2.5e9 + hops
    assert plan.tokens_per_second == pytest.approx(1 / seconds)
    assert plan.tokens_per_second_together == pytest.approx(plan.tokens_per_second)


@given(
    layers=st.lists(st.integers(20, 300), min_size=2, max_size=24),
    head=st.integers(5, 1500),
    vocabulary=st.integers(100, 200_000),
    chips=st.tuples(st.sampled_from(CHIPS), st.sampled_from(CHIPS)),
    kind=st.sampled_from(["thunderbolt", "ethernet", "wifi"]),
    free=st.integers(2, 16),
    sequences=st.integers(1, 8),
    objective=st.sampled_from(["throughput", "equal", "memory", "latency"]),
)
@settings(max_examples=150, deadline=None)
def test_sharing_never_makes_worse_what_the_objective_wants(
    layers: list[int],
    head: int,
    vocabulary: int,
    chips: tuple[str, str],
    kind: str,
    free: int,
    sequences: int,
    objective: str,
) -> None:
    card = tied([each * MIB for each in layers], head=head * MIB, vocab_size=vocabulary)
    told = on(kind, *chips, free=free * GIB)
    ring = {"sequences": sequences, "objective": objective}
    try:
        apart = plan_of(card, told, **ring, head="last")
    except PlanError:
        with pytest.raises(PlanError):
            plan_of(card, told, **ring)
        return
    plan = plan_of(card, told, **ring)
    assert apart.head_rows == 0
    if not plan.head_rows:
        assert structs.replace(plan, head="last").stages == apart.stages
        return
    assert len(plan.stages) == 2 and plan.head_rows % ROWS_STEP == 0
    assert ROWS_STEP <= plan.head_rows <= vocabulary - ROWS_STEP
    alone = plan.tokens_per_second / apart.tokens_per_second
    together = plan.tokens_per_second_together / apart.tokens_per_second_together
    if objective == "latency":
        assert alone > 1
        return
    assert min(alone, together) >= 0.98
    assert max(alone, together) > 1 or layers_seconds(apart) >= 1.05 * layers_seconds(plan)
    if objective in ("throughput", "equal"):
        # Layers on the faster rank take as long to hand over as on the slower one; rows come in blocks.
        block = ROWS_STEP / vocabulary * card.head_bytes / min(s.bytes_per_second for s in plan.stages)
        spare = len(layers) * LAYER_SECONDS + block
        assert worst(plan) <= worst(apart) / 0.98 + logits_seconds(plan) + spare


def test_the_demo_models_layers_are_even_with_half_of_the_head_each(demo_model_path: Path) -> None:
    card = read_card(demo_model_path, "float32")
    told = [
        structs.replace(fact, addresses=(NetworkAddress("lo", "127.0.0.1", "loopback"),))
        for fact in facts(4 * GIB, 4 * GIB)
    ]

    def of(**ring: Any) -> Plan:
        return make_plan(card, profile(local_hosts(2), sequences=4, **ring), told, {})

    shared, apart = of(), of(head="last")
    assert (counts(shared), shared.head_rows) == ([15, 15], 24_512), "of 49,152"
    assert (counts(apart), apart.head_rows) == ([11, 19], 0)
    assert shared.tokens_per_second > 1.1 * apart.tokens_per_second
    assert shared.tokens_per_second_together >= apart.tokens_per_second_together


@pytest.mark.parametrize(
    "changes",
    [
        {"tied": False},
        {"architecture": "cohere"},  # scales its logits
        {"architecture": "nobody_knows"},
        {"hidden_size": MOST_HIDDEN_BYTES // 4 + 1},
    ],
)
def test_others_leave_the_head_to_the_last_stage(changes: dict[str, Any]) -> None:
    plan, apart = plan_of(tied(**changes)), plan_of(tied(**changes), head="last")
    assert plan.head_rows == 0 and plan.stages == apart.stages


def test_another_name_of_an_architecture_counts_as_it() -> None:
    assert plan_of(tied(architecture="mistral")).head_rows > 0


def test_hidden_states_of_all_sequences_have_room_on_the_wrap_link() -> None:
    card = tied(hidden_size=MOST_HIDDEN_BYTES // 4 // 2)
    assert plan_of(card, sequences=2).head_rows > 0
    assert plan_of(card, sequences=3).head_rows == 0
    assert plan_of(structs.replace(card, dtype="bfloat16"), sequences=4).head_rows > 0


@pytest.mark.parametrize("count", [1, 3])
def test_one_or_three_ranks_do_not_share_it(count: int) -> None:
    assert plan_of(tied(), on("thunderbolt", *["Apple M4"] * count)).head_rows == 0


def test_prompts_are_worth_a_little_of_the_answers_pace() -> None:
    card = tied([60 * MIB] * 16, head=140 * MIB, vocab_size=128_256)
    plan, apart = (plan_of(card, sequences=4, head=head) for head in ("auto", "last"))
    assert 0.98 <= plan.tokens_per_second_together / apart.tokens_per_second_together < 1
    assert plan.tokens_per_second / apart.tokens_per_second >= 0.98
    assert layers_seconds(apart) > 1.05 * layers_seconds(plan)


def test_only_over_mlxs_own_ring_it_is_shared() -> None:
    assert plan_of(tied(), backend="ring").head_rows > 0
    plan = plan_of(tied(), backend="nccl")
    assert plan.head_rows == 0
    assert evaluate(plan, [5, 7]).head_rows == 0


def test_a_slow_link_is_not_worth_it() -> None:
    card = tied(vocab_size=256_000, head_bytes=200 * MIB, embedding_bytes=200 * MIB)
    wifi, cable = (plan_of(card, on(kind, "Apple M4", "Apple M4")) for kind in ("wifi", "thunderbolt"))
    assert wifi.head_rows == 0 and not any("logits" in line for line in wifi.explanation)
    assert cable.head_rows > 0


@pytest.mark.parametrize("ring", [{"layers": (5, 7)}, {"objective": "memory"}])
def test_layers_by_hand_or_by_memory_stay_and_the_head_evens_out_the_rest(ring: dict[str, Any]) -> None:
    plan, apart = plan_of(tied(), **ring), plan_of(tied(), **ring, head="last")
    assert counts(plan) == counts(apart) and plan.head_rows > 0
    first, last = plan.pipeline
    assert first.seconds == pytest.approx(last.seconds, rel=0.01)
    assert worst(plan) < worst(apart)


def test_a_first_stage_with_all_the_work_gets_nothing_of_the_head() -> None:
    assert plan_of(tied(), layers=(1, 11)).head_rows == 0


def test_a_last_stage_with_all_the_work_keeps_a_block_of_the_head() -> None:
    card = tied([800 * MIB] * 12, head=1600 * MIB)
    assert plan_of(card, layers=(11, 1), sequences=4).head_rows == 32_000 - ROWS_STEP


def test_the_shortest_way_shares_the_head_as_speeds_are() -> None:
    told = on("thunderbolt", "Apple M4", "Apple M2 Ultra")
    card = tied(head=800 * MIB)
    plan, apart = (plan_of(card, told, objective="latency", head=head) for head in ("auto", "last"))
    first, last = plan.pipeline
    part = first.bytes_per_second / (first.bytes_per_second + last.bytes_per_second)
    assert plan.head_rows == pytest.approx(part * card.vocab_size, abs=ROWS_STEP)
    assert plan.tokens_per_second > apart.tokens_per_second


def test_the_shortest_way_of_three_hosts_may_be_two_that_share_the_head() -> None:
    told = on("thunderbolt", "Apple M4", "Apple M4", "Apple M2 Ultra")
    plan = plan_of(tied(head=800 * MIB), told, objective="latency")
    assert [stage.host for stage in plan.stages] == ["h0", "h2"] and plan.head_rows > 0
    pair = plan_of(tied(head=800 * MIB), [told[0], told[2]], objective="latency")
    assert (counts(plan), plan.head_rows) == (counts(pair), pair.head_rows)


@given(
    first=st.integers(1, 11),
    order=st.sampled_from(["reverse", "forward"]),
    head=st.sampled_from(["auto", "last"]),
    chips=st.tuples(st.sampled_from(CHIPS), st.sampled_from(CHIPS)),
    kind=st.sampled_from(["thunderbolt", "ethernet", "wifi"]),
)
@settings(max_examples=60, deadline=None)
def test_a_moved_plan_has_the_head_as_layers_by_hand_have_it(
    first: int, order: str, head: str, chips: tuple[str, str], kind: str
) -> None:
    told, layers = on(kind, *chips), (first, 12 - first)
    made = plan_of(tied(), told, order=order, head=head)
    hand = plan_of(tied(), told, order=order, head=head, layers=layers)
    moved = evaluate(made, layers)
    if counts(made) != list(layers):
        assert (moved.head_rows, moved.stages) == (hand.head_rows, hand.stages)
        assert moved.rates.alone == hand.tokens_per_second
        assert moved.rates.together == hand.tokens_per_second_together
    back = evaluate(made, counts(made))
    assert (back.head_rows, back.stages) == (made.head_rows, made.stages)
    assert back.rates.alone == made.tokens_per_second


def test_a_plan_that_does_not_say_how_fast_links_are_can_be_moved_and_leaves_the_head() -> None:
    made = plan_of(tied(), head="last")
    older = [structs.replace(stage, link_bytes_per_second=0.0) for stage in made.stages]
    moved = evaluate(structs.replace(made, stages=tuple(older), head="auto"), [6, 6])
    assert moved.layers == (6, 6) and moved.head_rows == 0
