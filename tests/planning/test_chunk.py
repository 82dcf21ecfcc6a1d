"""Tokens of a chunk, where the profile leaves them to the planner."""

import pytest
from msgspec import structs

from ringcore.planning.chunk import ON_CPU, ON_CPU_QUANTISED, ON_GPU, chunks
from ringcore.planning.plan import make_plan
from ringcore.spec.errors import PlanError
from ringcore.spec.profile import RingOptions
from ringcore.spec.units import GIB, MIB
from tests.planning.worlds import facts, hosts, model, profile, quantised

DENSE = model(12)


def test_a_chunk_by_hand_is_taken_as_it_is() -> None:
    assert chunks(DENSE, RingOptions(prefill_chunk=48), facts(GIB)) == (48,)


def test_processors_take_short_chunks_and_gpus_the_longest_that_fits() -> None:
    cpu = facts(GIB, GIB)
    macs = [structs.replace(fact, os="darwin") for fact in cpu]
    assert chunks(DENSE, RingOptions(), cpu) == ON_CPU
    assert chunks(DENSE, RingOptions(), macs) == ON_GPU


def test_one_processor_in_the_ring_makes_it_short_chunks_for_all() -> None:
    mixed = facts(GIB, GIB)
    mixed[0] = structs.replace(mixed[0], os="darwin")
    assert chunks(DENSE, RingOptions(), mixed) == ON_CPU


def test_quantised_weights_on_a_processor_take_the_shortest_chunks() -> None:
    cpu = facts(GIB, GIB)
    macs = [structs.replace(fact, os="darwin") for fact in cpu]
    assert chunks(quantised("float32"), RingOptions(), cpu) == ON_CPU_QUANTISED
    assert chunks(quantised("bfloat16"), RingOptions(), macs) == ON_GPU


def test_no_chunk_is_longer_than_the_context() -> None:
    macs = [structs.replace(fact, os="darwin") for fact in facts(GIB)]
    assert chunks(DENSE, RingOptions(context=700), macs) == (700, 512, 256)
    assert chunks(DENSE, RingOptions(context=16), macs) == (16,)


def test_where_memory_is_short_the_plan_has_a_shorter_chunk() -> None:
    card = model(12, attention_heads=400)
    ring = profile(hosts(1), context=2048, prefill_chunk=0)
    found: list[int] = []
    for size in (64 * GIB, 12 * GIB, 6 * GIB):
        told = [structs.replace(fact, os="darwin") for fact in facts(size)]
        plan = make_plan(card, ring, told, {})
        found.append(plan.prefill_chunk)
        assert all(stage.free_bytes >= 0 for stage in plan.stages)
    assert found == sorted(found, reverse=True) and found[0] == 2048 and found[-1] < 2048


def test_what_does_not_fit_with_the_shortest_chunk_does_not_fit() -> None:
    told = [structs.replace(fact, os="darwin") for fact in facts(900 * MIB)]
    with pytest.raises(PlanError) as caught:
        make_plan(model(12, attention_heads=4000), profile(hosts(1), context=1024, prefill_chunk=0), told, {})
    assert "prefill_chunk" not in caught.value.failure.remedy
