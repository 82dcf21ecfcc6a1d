"""What ranks may keep of earlier sequences: of free memory, as much as the rank with the least can."""

import pytest
from msgspec import structs

from ringcore.planning.plan import make_plan
from ringcore.planning.prefix import BLOCK_TOKENS, STATE_BLOCK_TOKENS, block_bytes
from ringcore.spec.card import LayerCard, ModelCard
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
            own = plan.prefix_blocks * block_bytes(
                plan.card, stage.shard.start, stage.shard.end, BLOCK_TOKENS
            )
            assert stage.prefix_bytes >= own


def test_a_budget_that_is_not_free_is_cut_and_the_plan_says_so() -> None:
    plan = planned(64 * GIB, 2 * GIB)
    assert 0 < plan.prefix_blocks * 12 * BLOCK_TOKENS * KIB < 2 * GIB
    assert all(stage.free_bytes >= 0 for stage in plan.stages)
    assert any("asks for 64.0 GiB, which is not free" in line for line in plan.explanation)


def with_layer(**change: int) -> ModelCard:
    odd = LayerCard(weight_bytes=100 * MIB, kv_bytes_per_token=1024, **change)
    return structs.replace(model(), layers=(*model().layers[1:], odd))


def test_a_block_has_of_a_window_what_it_sees_and_of_a_state_all() -> None:
    plain = block_bytes(model(), 0, 11, 64)
    assert block_bytes(with_layer(kv_window=16), 0, 12, 64) == plain + 16 * KIB
    assert block_bytes(with_layer(kv_window=512), 0, 12, 64) == plain + 64 * KIB
    assert block_bytes(with_layer(state_bytes_per_sequence=4096), 0, 12, 64) == plain + 64 * KIB + 4096


@pytest.mark.parametrize(
    ("change", "asked", "tokens", "words"),
    [
        ({"kv_window": 512}, 0, BLOCK_TOKENS, "64 tokens with the windows of 1 layers"),
        ({"state_bytes_per_sequence": 4 * MIB}, 0, STATE_BLOCK_TOKENS, "the states of 1 layers at its end"),
        ({"state_bytes_per_sequence": 4 * MIB}, 1024, 1024, "a block is 1024 tokens"),
        ({}, 16, 16, "a block is 16 tokens, 192 KiB"),
    ],
)
def test_blocks_are_as_long_as_suits_what_they_keep_and_the_plan_says_what_they_are(
    change: dict[str, int], asked: int, tokens: int, words: str
) -> None:
    card = with_layer(**change)
    wanted = structs.replace(
        profile(hosts(1), context=4096, sequences=2),
        cache=CacheOptions(memory_bytes=96 * MIB, disk_bytes=GIB, block_tokens=asked),
    )
    plan = make_plan(card, wanted, facts(8 * GIB), {})
    size = block_bytes(card, 0, 12, tokens)
    assert (plan.block_tokens, plan.prefix_blocks) == (tokens, 96 * MIB // size)
    assert plan.prefix_disk_blocks == GIB // size
    assert plan.stages[0].prefix_bytes >= plan.prefix_blocks * size
    assert any(words in line for line in plan.explanation), plan.explanation


def test_none_is_none() -> None:
    plan = planned(0, 8 * GIB, 8 * GIB)
    assert plan.prefix_blocks == sum(stage.prefix_bytes for stage in plan.stages) == 0
    assert any("the profile says so" in line for line in plan.explanation)
