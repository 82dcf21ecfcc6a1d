"""The planner: what it promises of every plan, and what it says when there is none."""

import re
import time

import pytest
from msgspec import structs

from ringcore.planning.bits import at_four_bits
from ringcore.planning.needs import Needs
from ringcore.planning.plan import make_plan
from ringcore.planning.seats import seated
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile
from ringcore.spec.units import GIB, MIB, parse_bytes
from tests.planning.worlds import facts, hosts, local_hosts, model, profile


def counts(plan: Plan) -> list[int]:
    """Layers by rank."""
    return [stage.shard.count for stage in plan.stages]


def test_with_reverse_order_rank_0_holds_the_last_layers() -> None:
    plan = make_plan(model(), profile(hosts(3), order="reverse"), facts(*[8 * GIB] * 3), {})
    assert plan.stages[0].shard.is_last and plan.stages[2].shard.is_first
    assert [stage.rank for stage in plan.pipeline] == [2, 1, 0]


def test_with_forward_order_rank_0_holds_the_first_layers() -> None:
    plan = make_plan(model(), profile(hosts(3), order="forward"), facts(*[8 * GIB] * 3), {})
    assert plan.stages[0].shard.is_first and plan.stages[2].shard.is_last
    assert [stage.rank for stage in plan.pipeline] == [0, 1, 2]


def test_a_plan_carries_what_the_ranks_must_agree_on() -> None:
    ring = {"context": 512, "sequences": 3, "prefill_chunk": 32, "order": "forward"}
    plan = make_plan(model(dtype="bfloat16"), profile(hosts(2), **ring), facts(8 * GIB, 8 * GIB), {})
    assert (plan.model, plan.architecture, plan.revision, plan.dtype) == ("toy", "llama", "r1", "bfloat16")
    assert (plan.context, plan.sequences, plan.prefill_chunk, plan.order) == (512, 3, 32, "forward")
    assert [stage.host for stage in plan.stages] == ["h0", "h1"]


def test_the_same_values_give_the_same_plan() -> None:
    plans = [make_plan(model(13), profile(hosts(3)), facts(*[8 * GIB] * 3), {}) for _ in range(2)]
    assert plans[0].digest == plans[1].digest


def test_throughput_counts_the_head_against_the_last_stage() -> None:
    heavy = model(12, head_bytes=400 * MIB)
    plan = make_plan(heavy, profile(hosts(2)), facts(8 * GIB, 8 * GIB), {})
    assert counts(plan) == [4, 8], "a head of four layers takes the place of four layers"


def test_throughput_gives_a_fast_chip_more_layers() -> None:
    told = facts(64 * GIB, chip="Apple M2 Ultra") + facts(64 * GIB, chip="Apple M4")
    card = model([GIB] * 46, head_bytes=0, norm_bytes=0)
    plan = make_plan(card, profile(hosts(2)), told, {})
    assert counts(plan) == [40, 6], "800 GB/s against 120"
    assert any("chips read memory" in line for line in plan.explanation)


def test_throughput_takes_equal_speed_when_nothing_tells_hosts_apart() -> None:
    plan = make_plan(model(12, head_bytes=0), profile(hosts(2)), facts(64 * GIB, 16 * GIB), {})
    assert counts(plan) == [6, 6]
    assert any("equally fast" in line for line in plan.explanation)


def test_experts_count_by_what_a_token_reads() -> None:
    card = model(8, head_bytes=0, norm_bytes=0)
    layers = [
        structs.replace(layer, read_bytes_per_token=(30 if number < 6 else 90) * MIB)
        for number, layer in enumerate(card.layers)
    ]
    card = structs.replace(card, layers=tuple(layers))
    plan = make_plan(card, profile(hosts(2), order="forward"), facts(8 * GIB, 8 * GIB), {})
    assert counts(plan) == [6, 2], "six layers that read a third each weigh as much as two whole ones"


def test_throughput_never_passes_a_ceiling_for_speed() -> None:
    told = facts(1 * GIB, chip="Apple M2 Ultra") + facts(64 * GIB, chip="Apple M4")
    plan = make_plan(model(46), profile(hosts(2)), told, {})
    assert all(stage.free_bytes >= 0 for stage in plan.stages)
    assert counts(plan)[0] < 10


def test_memory_gives_every_rank_the_same_share() -> None:
    plan = make_plan(
        model(60, head_bytes=0, embedding_bytes=0),
        profile(hosts(2), objective="memory"),
        facts(20 * GIB, 10 * GIB),
        {},
    )
    assert counts(plan) == [40, 20]
    shares = [stage.need_bytes / (stage.ceiling_bytes - stage.reserve_bytes) for stage in plan.stages]
    assert shares[0] == pytest.approx(shares[1], rel=0.05)


def test_equal_gives_the_odd_layer_to_a_rank_that_has_least_to_do() -> None:
    plan = make_plan(model(7), profile(hosts(3), objective="equal"), facts(*[8 * GIB] * 3), {})
    assert sorted(counts(plan)) == [2, 2, 3]
    assert counts(plan)[0] == 2, "rank 0 has the head as well"


def test_equal_that_does_not_fit_is_refused_though_another_split_would_fit() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(20), profile(hosts(2), objective="equal"), facts(8 * GIB, 512 * MIB), {})
    assert "equal number of layers" in caught.value.failure.cause
    assert 'objective = "memory"' in caught.value.failure.remedy
    make_plan(model(20), profile(hosts(2), objective="memory"), facts(8 * GIB, 512 * MIB), {})


def test_layers_by_hand_are_taken_as_they_are_rank_0_first() -> None:
    plan = make_plan(model(), profile(hosts(3), layers=(2, 3, 7)), facts(*[8 * GIB] * 3), {})
    assert counts(plan) == [2, 3, 7]
    assert plan.stages[0].shard.start == 10
    assert any("by hand" in line for line in plan.explanation)


def test_layers_by_hand_that_do_not_make_the_model_are_refused_with_numbers_that_do() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(), profile(hosts(3), layers=(2, 3, 6)), facts(*[8 * GIB] * 3), {})
    assert "makes 11 layers" in caught.value.failure.cause and "has 12" in caught.value.failure.cause
    assert "[4, 4, 4]" in caught.value.failure.remedy


def test_layers_by_hand_that_do_not_fit_are_refused_and_a_split_that_fits_is_named() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(), profile(hosts(2), layers=(11, 1)), facts(1 * GIB, 8 * GIB), {})
    assert "rank 0 (h0), layers 1..11" in caught.value.failure.cause
    assert "remove ring.layers" in caught.value.failure.remedy


def test_more_hosts_than_layers_are_refused_with_both_numbers() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(3), profile(hosts(4)), facts(*[8 * GIB] * 4), {})
    assert "4 hosts for 3 layers" in caught.value.failure.cause
    assert "3 hosts or fewer" in caught.value.failure.remedy


def test_a_context_beyond_the_models_is_refused_with_the_number_to_write() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(max_context=2048), profile(hosts(1), context=4096), facts(8 * GIB), {})
    assert "4096" in caught.value.failure.cause and "2048" in caught.value.failure.cause
    assert "context = 2048" in caught.value.failure.remedy
    make_plan(model(max_context=0), profile(hosts(1), context=4096), facts(8 * GIB), {})


def test_facts_of_fewer_hosts_than_the_profile_names_are_refused() -> None:
    with pytest.raises(PlanError, match="facts of 1 hosts"):
        make_plan(model(), profile(hosts(2)), facts(8 * GIB), {})


def test_a_refusal_lists_for_each_host_what_it_needs_has_and_lacks() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(40), profile(hosts(2)), facts(1 * GIB, 2 * GIB), {})
    text = caught.value.failure.cause
    for rank, usable in ((0, "922 MiB"), (1, "1.8 GiB")):
        assert re.search(
            rf"rank {rank} \(h{rank}\).*needs [\d.]+ .iB, has {usable}: [\d.]+ .iB missing", text
        )


def test_the_context_in_the_remedy_fits_and_the_next_step_would_not() -> None:
    told, card = facts(2 * GIB, 2 * GIB), model(24)
    with pytest.raises(PlanError) as caught:
        make_plan(card, profile(hosts(2), context=200_000, sequences=1), told, {})
    found = re.search(r"context = (\d+)", caught.value.failure.remedy)
    assert found, caught.value.failure.remedy
    context = int(found[1])
    make_plan(card, profile(hosts(2), context=context), told, {})
    with pytest.raises(PlanError):
        make_plan(card, profile(hosts(2), context=context + 256), told, {})


def test_a_context_below_the_prefill_chunk_comes_with_a_chunk_that_the_profile_may_have() -> None:
    told = facts(1500 * MIB)
    card = model(12, attention_heads=4000)
    with pytest.raises(PlanError) as caught:
        make_plan(card, profile(hosts(1), context=1024, prefill_chunk=1024), told, {})
    found = re.search(r"context = (\d+) and prefill_chunk = (\d+)", caught.value.failure.remedy)
    assert found and found[1] == found[2], caught.value.failure.remedy
    size = int(found[1])
    make_plan(card, profile(hosts(1), context=size, prefill_chunk=size), told, {})


def test_the_number_of_sequences_in_the_remedy_fits_and_one_more_would_not() -> None:
    told, card = facts(2 * GIB, 2 * GIB), model(24)
    with pytest.raises(PlanError) as caught:
        make_plan(card, profile(hosts(2), context=4096, sequences=64), told, {})
    found = re.search(r"sequences = (\d+) under", caught.value.failure.remedy)
    assert found, caught.value.failure.remedy
    make_plan(card, profile(hosts(2), context=4096, sequences=int(found[1])), told, {})
    with pytest.raises(PlanError):
        make_plan(card, profile(hosts(2), context=4096, sequences=int(found[1]) + 1), told, {})


def test_one_more_host_of_the_size_in_the_remedy_is_enough() -> None:
    card, told = model(40), facts(1 * GIB, 2 * GIB)
    with pytest.raises(PlanError) as caught:
        make_plan(card, profile(hosts(2)), told, {})
    found = re.search(r"one more host.* has ([\d.]+ .iB) for the ring", caught.value.failure.remedy)
    assert found, caught.value.failure.remedy
    enough = parse_bytes(found[1])
    plan = make_plan(card, profile(hosts(3)), facts(1 * GIB, 2 * GIB, enough * 10 // 9 + MIB), {})
    assert all(stage.free_bytes >= 0 for stage in plan.stages)
    with pytest.raises(PlanError):
        make_plan(card, profile(hosts(3)), facts(1 * GIB, 2 * GIB, (enough - 200 * MIB) * 10 // 9), {})


def test_ceilings_set_by_hand_that_the_remedy_names_are_enough() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(), profile(hosts(2)), facts(8 * GIB, 8 * GIB), {"DEFAULT_RANK_MEMORY_MB": "300"})
    found = re.findall(r"h\d ([\d.]+ .iB)", caught.value.failure.remedy)
    assert len(found) == 2, caught.value.failure.remedy
    raised = tuple(hosts(1, name=f"h{n}", memory_bytes=parse_bytes(size))[0] for n, size in enumerate(found))
    assert make_plan(model(), profile(raised), facts(8 * GIB, 8 * GIB), {})


def test_ranks_on_one_machine_are_not_told_to_add_a_host() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model(40), profile(local_hosts(2)), facts(1 * GIB, 1 * GIB), {})
    assert "one more host" not in caught.value.failure.remedy


def test_where_nothing_helps_a_smaller_model_is_the_remedy() -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(model([4 * GIB] * 16), profile(hosts(8)), facts(*[1 * GIB] * 8), {})
    assert "smaller model" in caught.value.failure.remedy


def test_the_embedding_counts_where_layer_0_is_norm_and_head_where_the_last_layer_is() -> None:
    card = model(4)
    plan = make_plan(card, profile(hosts(3), layers=(1, 2, 1)), facts(*[8 * GIB] * 3), {})
    layer = card.layers[0].weight_bytes
    assert plan.stages[2].weight_bytes == layer + card.embedding_bytes
    assert plan.stages[1].weight_bytes == 2 * layer
    assert plan.stages[0].weight_bytes == layer + card.norm_bytes + card.head_bytes


def test_a_tied_head_is_a_copy_of_its_own_unless_one_rank_holds_both_ends() -> None:
    card = model(4, tied=True)
    layers = 4 * card.layers[0].weight_bytes
    whole = make_plan(card, profile(hosts(1)), facts(8 * GIB), {})
    assert whole.stages[0].weight_bytes == layers + card.embedding_bytes + card.norm_bytes
    cut = make_plan(card, profile(hosts(2)), facts(8 * GIB, 8 * GIB), {})
    total = sum(stage.weight_bytes for stage in cut.stages)
    assert total == layers + 2 * card.embedding_bytes + card.norm_bytes


def test_caches_are_counted_for_every_sequence_at_full_length() -> None:
    plan = make_plan(model(4), profile(hosts(1), context=1000, sequences=5), facts(8 * GIB), {})
    # A cache grows in steps of 256 from wherever it is.
    assert plan.stages[0].kv_bytes == 4 * 5 * (1000 + 255) * 1024


def test_the_last_stage_has_room_for_the_logits() -> None:
    needs = Needs(model(4, vocab_size=100_000), context=1024, sequences=4, prefill_chunk=64)
    assert needs.workspace(2, 4) - needs.workspace(0, 2) >= 4 * 100_000 * 4


def test_every_rank_has_its_line_with_range_bytes_and_share() -> None:
    plan = make_plan(model(), profile(hosts(2)), facts(8 * GIB, 4 * GIB), {})
    text = "\n".join(plan.explanation)
    for stage in plan.stages:
        assert f"layers {stage.shard.start}..{stage.shard.end - 1}" in text
        assert f"{100 * stage.need_bytes / stage.ceiling_bytes:.0f}% of its ceiling" in text
    assert "sets the pace" in text and "kept for the system" in text
    assert f"expected: {plan.tokens_per_second:.1f} tokens/s of one conversation" in text


def test_a_large_model_on_eight_hosts_is_planned_at_once() -> None:
    card = model([(90 + n % 7) * MIB for n in range(200)])
    began = time.process_time()
    make_plan(card, profile(hosts(8), objective="memory"), facts(*[64 * GIB] * 8), {})
    with pytest.raises(PlanError):
        make_plan(card, profile(hosts(8)), facts(*[2 * GIB] * 8), {})
    assert time.process_time() - began < 2


def test_latency_fills_the_fastest_host_first_and_leaves_out_who_only_adds_to_it() -> None:
    told = (
        facts(64 * GIB, chip="Apple M4")
        + facts(2 * GIB, chip="Apple M2 Ultra")
        + facts(64 * GIB, chip="Apple M1")
    )
    plan = make_plan(model(30, head_bytes=0), profile(hosts(3), objective="latency"), told, {})
    assert [stage.host for stage in plan.stages] == ["h0", "h1"], "the M1 is the slowest"
    full = plan.stages[1]
    assert 0 <= full.free_bytes < 100 * MIB, "the fastest one takes all that it can hold"
    assert any("h2 is left out" in line for line in plan.explanation)
    assert any("h2 in the ring as well" in line and "in place of" in line for line in plan.explanation)
    whole = make_plan(model(30, head_bytes=0), profile(hosts(3)), told, {})
    assert plan.tokens_per_second > whole.tokens_per_second


def test_latency_is_one_host_where_one_is_enough_and_hosts_are_equal() -> None:
    plan = make_plan(model(12), profile(hosts(3), objective="latency"), facts(*[8 * GIB] * 3), {})
    assert [stage.host for stage in plan.stages] == ["h0"]
    assert plan.stages[0].shard.count == 12


def test_latency_keeps_the_leader_even_where_it_is_the_slowest() -> None:
    told = facts(8 * GIB, chip="Apple M1") + facts(8 * GIB, chip="Apple M2 Ultra")
    plan = make_plan(model(30), profile(hosts(2), objective="latency"), told, {})
    assert counts(plan) == [1, 29]


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_arrange_finds_an_order_that_fits_where_the_given_one_does_not(order: str) -> None:
    """An embedding as large as most of what a small host has, and two places for it."""
    card = model(12, embedding_bytes=900 * MIB)
    card = card if order == "reverse" else structs.replace(card, embedding_bytes=1, head_bytes=900 * MIB)
    told = facts(2 * GIB, 2 * GIB, 600 * MIB)
    with pytest.raises(PlanError) as caught:
        make_plan(card, profile(hosts(3), order=order), told, {})
    assert "arrange = true" in caught.value.failure.remedy
    plan = make_plan(card, profile(hosts(3), order=order, arrange=True), told, {})
    assert [stage.host for stage in plan.stages] == ["h0", "h2", "h1"]
    assert any("h0, h2, h1" in line for line in plan.explanation)


def test_a_variable_counts_for_the_hosts_place_in_the_profile_wherever_it_is_seated() -> None:
    card = model(12, embedding_bytes=900 * MIB)
    told, ceilings = facts(*[2 * GIB] * 3), {"RANK_MEMORY_MB_2": "600"}
    plan = make_plan(card, profile(hosts(3), arrange=True), told, ceilings)
    assert [(stage.rank, stage.host, stage.ceiling_bytes // MIB) for stage in plan.stages] == [
        (0, "h0", 2048),
        (1, "h2", 600),
        (2, "h1", 2048),
    ]


def test_the_profile_is_seated_as_the_plan_says() -> None:
    ring = profile(hosts(3))
    made = make_plan(model(), profile(hosts(2)), facts(8 * GIB, 8 * GIB), {})
    turned = structs.replace(
        made, stages=tuple(structs.replace(s, host=("h2", "h0")[s.rank]) for s in made.stages)
    )
    assert [host.name for host in seated(ring, turned).hosts] == ["h2", "h0"]
    with pytest.raises(PlanError, match="h2"):
        seated(profile(hosts(2)), turned)


def rejections(plan: Plan) -> list[str]:
    return [line for line in plan.explanation if line.startswith("rejected: ")]


def test_every_alternative_is_rejected_for_a_reason_in_the_objectives_terms() -> None:
    told = facts(160 * GIB, chip="Apple M2 Ultra") + facts(12 * GIB, 12 * GIB, chip="Apple M4")
    card = model([500 * MIB] * 80)
    plan = make_plan(card, profile(hosts(3)), told, {})
    lines = rejections(plan)
    even = next(line for line in lines if "equal numbers" in line)
    assert "(h0 27, h1 27, h2 26)" in even and "rank 1 (h1) would need" in even and "missing" in even
    for name in ("by free memory", "objective latency", "objective memory", "without h1", "without h2"):
        line = next(line for line in lines if name in line)
        theirs, ours = map(float, re.findall(r"(\d+\.\d) ms .*in place of (\d+\.\d)", line)[0])
        assert theirs > ours == round(max(stage.seconds for stage in plan.stages) * 1000, 1)
    shares = rejections(make_plan(card, profile(hosts(3), objective="memory"), told, {}))
    assert any("of the memory of its fullest host" in line for line in shares)


def test_an_alternative_that_serves_more_together_is_told_although_its_step_is_longer() -> None:
    told = facts(160 * GIB, chip="Apple M2 Ultra") + facts(12 * GIB, chip="Apple M4")
    card = model([500 * MIB] * 40)
    ring = profile(hosts(2), sequences=4)
    line = next(x for x in rejections(make_plan(card, ring, told, {})) if "objective latency" in x)
    theirs, ours = map(float, re.findall(r"would reach (\S+) tokens/s, in place of (\d+\.\d)", line)[0])
    latency = make_plan(
        card, structs.replace(ring, ring=structs.replace(ring.ring, objective="latency")), told, {}
    )
    assert theirs == round(latency.tokens_per_second_together, 1) > ours


def test_a_ring_of_one_has_nothing_to_reject() -> None:
    assert not rejections(make_plan(model(), profile(hosts(1)), facts(8 * GIB), {}))


# remedies: what they say is enough, and less is not ----------------------------------------------


def remedies(card: ModelCard, ring: Profile, told: list[HostFacts]) -> str:
    with pytest.raises(PlanError) as caught:
        make_plan(card, ring, told, {})
    remedy = caught.value.failure.remedy
    assert remedy.count("\n    - ") <= 3
    return remedy


def test_a_host_that_holds_no_layer_is_named_to_be_removed() -> None:
    told = facts(8 * GIB, 64 * MIB, 8 * GIB)
    remedy = remedies(model(12), profile(hosts(3)), told)
    assert "remove h1 from the profile" in remedy
    make_plan(model(12), profile((hosts(3)[0], hosts(3)[2])), [told[0], told[2]], {})


def test_latency_leaves_out_a_host_that_holds_no_layer() -> None:
    plan = make_plan(model(12), profile(hosts(3), objective="latency"), facts(1 * GIB, 64 * MIB, 1 * GIB), {})
    assert [stage.host for stage in plan.stages] == ["h0", "h2"]


def test_four_bits_are_a_remedy_where_the_lighter_model_fits_and_not_where_it_does_not() -> None:
    layers = tuple(
        LayerCard(weight_bytes=200 * MIB, kv_bytes_per_token=1024, four_bit_bytes=106 * MIB)
        for _ in range(10)
    )
    card = structs.replace(
        model(),
        layers=layers,
        quantization="8-bit g64",
        four_bit_embedding_bytes=27 * MIB,
        four_bit_head_bytes=27 * MIB,
    )
    remedy = remedies(card, profile(hosts(1)), facts(1800 * MIB))
    assert "4-bit weights in place of 8-bit g64: 1.1 GiB in place of 2.1 GiB" in remedy
    lighter = at_four_bits(card)
    assert lighter is not None and at_four_bits(lighter) is None
    make_plan(lighter, profile(hosts(1)), facts(1800 * MIB), {})
    assert "4-bit" not in remedies(card, profile(hosts(1)), facts(1 * GIB))


def test_the_mac_that_the_remedy_names_is_enough_and_the_next_smaller_is_not() -> None:
    card, told = model([500 * MIB] * 40), facts(8 * GIB)
    remedy = remedies(card, profile(hosts(1)), told)
    size = int(re.findall(r"such as a Mac of (\d+) GB", remedy)[0])

    def with_mac(size: int) -> list[HostFacts]:
        return told + facts(size * GIB, os="darwin", total_memory_bytes=size * GIB)

    make_plan(card, profile(hosts(2)), with_mac(size), {})
    with pytest.raises(PlanError):
        make_plan(card, profile(hosts(2)), with_mac({24: 16, 32: 24, 48: 32}[size]), {})
