"""Whoever the shortest way leaves out takes nothing from those that stay: no memory, no speed, no dtype."""

import pytest
from msgspec import structs

from ringcore.planning.mixed import make_mixed_plan, may_leave_out
from ringcore.planning.plan import make_plan
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import HostOptions, Profile
from ringcore.spec.units import GIB
from tests.planning.worlds import facts, hosts, local_hosts, model, profile


def in_order(*named: tuple[str, str]) -> Profile:
    """Hosts with these names on these machines."""
    options = tuple(
        HostOptions(name=name, ssh=machine, address=f"10.0.0.{n + 1}")
        for n, (name, machine) in enumerate(named)
    )
    return profile(options, objective="latency")


def test_a_rank_that_stays_alone_on_its_machine_has_all_of_it() -> None:
    plan = make_plan(model(), profile(local_hosts(2), objective="latency"), facts(8 * GIB, 8 * GIB), {})
    alone = make_plan(model(), profile(local_hosts(1), objective="latency"), facts(8 * GIB), {})
    assert [stage.host for stage in plan.stages] == ["h0"]
    assert plan.stages == alone.stages
    assert plan.tokens_per_second == alone.tokens_per_second
    assert any("h1 is left out" in line for line in plan.explanation)


def test_what_only_fits_into_the_whole_machine_is_found_there() -> None:
    card = model(12, embedding_bytes=900 << 20, head_bytes=900 << 20)  # half of it holds neither end
    two = profile(local_hosts(2), objective="latency")
    plan = make_plan(card, two, facts(4 * GIB, 4 * GIB), {})
    assert [(stage.host, stage.ceiling_bytes) for stage in plan.stages] == [("h0", 4 * GIB)]


def test_two_ranks_stay_on_one_machine_where_their_ceilings_are_set_by_hand() -> None:
    two = profile(local_hosts(2, memory_bytes=GIB), objective="latency")
    plan = make_plan(model(), two, facts(8 * GIB, 8 * GIB), {})
    assert [stage.host for stage in plan.stages] == ["h0", "h1"]


def test_of_two_ranks_on_the_faster_machine_one_stays_and_is_as_fast_as_the_machine() -> None:
    ring = in_order(("lead", "a"), ("one", "b"), ("two", "b"))
    told = facts(1 * GIB, chip="Apple M4") + facts(64 * GIB, 64 * GIB, chip="Apple M2 Ultra")
    plan = make_plan(model(30), ring, told, {})
    assert [stage.host for stage in plan.stages] == ["lead", "one"]
    single = make_plan(model(30), in_order(("lead", "a"), ("one", "b")), told[:2], {})
    assert plan.stages == single.stages


def test_layers_lie_as_the_speed_of_the_whole_machine_says() -> None:
    """A third of it is slower than the leader, all of it is faster; its first rank is too small for a way
    around the others."""
    ring = in_order(("lead", "a"), ("small", "b"), ("two", "b"), ("three", "b"))
    options = [
        structs.replace(host, memory_bytes=256 << 20) if host.name == "small" else host for host in ring.hosts
    ]
    ring = structs.replace(ring, hosts=tuple(options))
    told = facts(1 * GIB, chip="Apple M4 Max") + facts(*[64 * GIB] * 3, chip="Apple M2 Ultra")
    plan = make_plan(model(30), ring, told, {})
    assert [stage.shard.count for stage in plan.stages] == [1, 29]
    assert plan.stages[1].host in ("two", "three")
    assert plan.stages[1].ceiling_source == "free memory of the host"


def test_a_variable_still_counts_for_its_place_in_the_profile() -> None:
    ring = in_order(("lead", "a"), ("one", "b"), ("two", "c"))
    told = facts(1 * GIB, chip="Apple M4") + facts(64 * GIB, chip="Apple M1")
    told += facts(64 * GIB, chip="Apple M2 Ultra")
    plan = make_plan(model(30), ring, told, {"RANK_MEMORY_MB_2": "8192"})
    assert [(stage.host, stage.ceiling_bytes // GIB) for stage in plan.stages][1] == ("two", 8)


def test_a_processor_that_is_left_out_does_not_shorten_the_chunks_of_gpus() -> None:
    told = facts(64 * GIB, chip="Apple M2 Ultra", os="darwin") + facts(64 * GIB)
    ring = profile(hosts(2), objective="latency", prefill_chunk=0, context=8192)
    plan = make_plan(model(), ring, told, {})
    assert [stage.host for stage in plan.stages] == ["h0"]
    assert plan.prefill_chunk == 2048


MAC = {"chip": "Apple M2 Ultra", "os": "darwin", "total_memory_bytes": 192 * GIB}


def mixed(mac: int, linux: int) -> list[HostFacts]:
    """A Mac and a processor under Linux with so many GiB free."""
    return facts(mac * GIB, **MAC) + facts(linux * GIB)


def halved(card: ModelCard) -> ModelCard:
    """The same as it is stored, in half the bytes."""
    layers = tuple(structs.replace(layer, weight_bytes=layer.weight_bytes // 2) for layer in card.layers)
    ends = {name: getattr(card, name) // 2 for name in ("embedding_bytes", "norm_bytes", "head_bytes")}
    return structs.replace(card, layers=layers, dtype="bfloat16", **ends)


LATENCY = profile(hosts(2), objective="latency")


def test_the_dtype_is_that_of_the_hosts_that_stay() -> None:
    plan = make_mixed_plan(model(), halved(model()), LATENCY, mixed(60, 60), {})
    assert ([stage.host for stage in plan.stages], plan.dtype) == (["h0"], "bfloat16")
    slower = make_plan(model(), LATENCY, mixed(60, 60), {})
    assert plan.tokens_per_second > slower.tokens_per_second
    assert f"{slower.tokens_per_second:.1f} tokens/s" in plan.explanation[-1]
    assert "left out" in plan.explanation[-1] and "h1" in plan.explanation[-1]
    plan.check()


def test_what_fits_only_as_it_is_stored_needs_no_processor() -> None:
    big = model([900 << 20] * 60)
    with pytest.raises(PlanError):
        make_plan(big, LATENCY, mixed(40, 1), {})
    plan = make_mixed_plan(big, halved(big), LATENCY, mixed(40, 1), {})
    assert [stage.host for stage in plan.stages] == ["h0"]


def test_who_is_needed_for_the_memory_keeps_its_dtype() -> None:
    big = model([900 << 20] * 60)
    plan = make_mixed_plan(big, halved(big), LATENCY, mixed(20, 64), {})
    assert ([stage.host for stage in plan.stages], plan.dtype) == (["h0", "h1"], "float32")


def test_what_fits_in_neither_dtype_is_refused_as_for_all_hosts() -> None:
    big = model([900 << 20] * 60)
    with pytest.raises(PlanError, match="does not fit") as caught:
        make_mixed_plan(big, halved(big), LATENCY, mixed(4, 4), {})
    assert "h1" in caught.value.failure.cause


@pytest.mark.parametrize(
    ("ring", "told", "choice"),
    [
        (LATENCY, mixed(8, 8), True),
        (LATENCY, mixed(8, 8)[::-1], False),  # the leader cannot be left out
        (LATENCY, facts(8 * GIB, 8 * GIB), False),
        (LATENCY, facts(8 * GIB, 8 * GIB, **MAC), False),
        (profile(hosts(2)), mixed(8, 8), False),
        (profile(hosts(2), objective="latency", dtype="float16"), mixed(8, 8), False),
        (profile(hosts(2), objective="latency", layers=(6, 6)), mixed(8, 8), False),
    ],
)
def test_two_dtypes_are_a_choice_only_where_hosts_can_be_left_out(
    ring: Profile, told: list[HostFacts], choice: bool
) -> None:
    assert may_leave_out(ring, told) == choice
