"""What ranks may keep of earlier sequences: of free memory, as much as the rank with the least can."""

import pytest
from msgspec import structs

from ringcore.planning.plan import make_plan
from ringcore.planning.prefix import BLOCK_TOKENS, block_bytes, can_be_cut
from ringcore.spec.card import LayerCard
from ringcore.spec.plan import Plan
from ringcore.spec.profile import CacheOptions
from ringcore.spec.units import GIB, KIB, MIB
from tests.planning.worlds import facts, hosts, model, profile


def planned(memory: int | None = None, *free: int, **card: object) -> Plan:
    wanted = profile(hosts(len(free)), context=4096, sequences=2)
    wanted = structs.replace(wanted, cache=CacheOptions(memory_bytes=memory))
    return make_plan(model(**card), wanted, facts(*free), {})


def test_left_alone_it_holds_as_much_as_all_running_sequences() -> None:
    plan = planned(None, 8 * GIB, 8 * GIB)
    assert plan.prefix_blocks * BLOCK_TOKENS == 2 * 4096
    assert all(stage.prefix_bytes > 0 for stage in plan.stages)


def test_the_rank_with_the_least_free_memory_decides_and_keeps_half_of_it() -> None:
    rich, poor = planned(None, 8 * GIB, 8 * GIB), planned(None, 8 * GIB, 1100 * MIB, layers=20)
    assert 0 < poor.prefix_blocks <= rich.prefix_blocks
    for stage in poor.stages:
        assert stage.free_bytes >= stage.prefix_bytes


def test_a_budget_counts_all_ranks_together_however_the_layers_lie() -> None:
    for plan in (planned(96 * MIB, 8 * GIB, 8 * GIB), planned(96 * MIB, 8 * GIB)):
        assert plan.prefix_blocks == 96 * MIB // (12 * BLOCK_TOKENS * KIB)
        assert plan.card is not None
        for stage in plan.stages:
            own = plan.prefix_blocks * block_bytes(plan.card, stage.shard.start, stage.shard.end)
            assert stage.prefix_bytes >= own


def test_a_budget_that_is_not_free_is_cut_and_the_plan_says_so() -> None:
    plan = planned(64 * GIB, 2 * GIB)
    assert 0 < plan.prefix_blocks * 12 * BLOCK_TOKENS * KIB < 2 * GIB
    assert all(stage.free_bytes >= 0 for stage in plan.stages)
    assert any("asks for 64.0 GiB, which is not free" in line for line in plan.explanation)


@pytest.mark.parametrize("change", [{"kv_window": 512}, {"state_bytes_per_sequence": 4096}])
def test_of_windows_and_states_nothing_is_kept_and_the_plan_says_so(change: dict[str, int]) -> None:
    odd = LayerCard(weight_bytes=100 * MIB, kv_bytes_per_token=1024, **change)
    card = structs.replace(model(), layers=(*model().layers[1:], odd))
    plan = make_plan(card, profile(hosts(1)), facts(8 * GIB), {})
    assert can_be_cut(model()) and not can_be_cut(card)
    assert (plan.prefix_blocks, plan.stages[0].prefix_bytes) == (0, 0)
    assert any("cannot be cut" in line for line in plan.explanation)


def test_none_is_none() -> None:
    plan = planned(0, 8 * GIB, 8 * GIB)
    assert plan.prefix_blocks == sum(stage.prefix_bytes for stage in plan.stages) == 0
    assert any("the profile says so" in line for line in plan.explanation)
