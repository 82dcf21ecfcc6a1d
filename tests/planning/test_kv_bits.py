"""Keys and values in few bits: what they take, which models can have them, and that the plan says so."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import QuantizedKVCache
from msgspec import structs

from ringcore.planning.evaluate import evaluate
from ringcore.planning.kept import bytes_in_bits, group_of
from ringcore.planning.kv_bits import WITHOUT, why_not
from ringcore.planning.plan import make_plan
from ringcore.planning.prefix import BLOCK_TOKENS, block_bytes
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Plan
from ringcore.spec.profile import CacheOptions
from ringcore.spec.units import GIB, MIB
from tests.planning.worlds import facts, hosts, model, profile


def card(*layers: LayerCard, **changes: object) -> ModelCard:
    return structs.replace(
        model(), layers=layers or (LayerCard(100 * MIB, 4096, kv_head=128),) * 6, **changes
    )


def planned(bits: int, of: ModelCard | None = None, free: int = 8 * GIB) -> Plan:
    wanted = structs.replace(profile(hosts(2), context=4096, sequences=4), cache=CacheOptions(kv_bits=bits))
    return make_plan(of or card(), wanted, facts(free, free), {})


@pytest.mark.parametrize("dtype", [mx.float32, mx.bfloat16, mx.float16])
@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize(("keys", "values"), [(64, 64), (128, 128), (192, 128), (96, 96), (96, 64), (32, 32)])
def test_a_cache_takes_for_a_token_what_is_counted(
    keys: int, values: int, bits: int, dtype: mx.Dtype
) -> None:
    group = group_of(32 if (keys, values) in ((96, 96), (96, 64), (32, 32)) else 64)
    cache = QuantizedKVCache(group_size=group, bits=bits)
    cache.update_and_fetch(mx.ones((1, 2, 5, keys), dtype), mx.ones((1, 2, 5, values), dtype))
    assert cache.nbytes == cache.step * bytes_in_bits(2 * (keys + values), bits, group, dtype.size)


@pytest.mark.parametrize(
    ("head", "group"), [(0, 0), (80, 0), (16, 0), (32, 32), (96, 32), (64, 64), (256, 64)]
)
def test_numbers_are_grouped_by_as_many_as_divide_a_head(head: int, group: int) -> None:
    assert group_of(head) == group


def test_the_plan_counts_caches_and_blocks_in_these_bits_and_says_so() -> None:
    as_computed, eight, four = planned(16), planned(8), planned(4)
    assert (as_computed.kv_bits, eight.kv_bits, four.kv_bits) == (0, 8, 4)
    assert len({plan.digest for plan in (as_computed, eight, four)}) == 3
    for plan, share in ((eight, (1 + 8 / 64) / 4), (four, (1 / 2 + 8 / 64) / 4)):
        for stage, plain in zip(plan.stages, as_computed.stages, strict=True):
            assert stage.kv_bytes == plain.kv_bytes * share
        assert any(f"{plan.kv_bits} bits" in line for line in plan.explanation)
        assert evaluate(plan, [3, 3]).stages[0].kv_bytes == plan.stages[0].kv_bytes
    assert not any(" bits)" in line for line in as_computed.explanation)


def test_a_budget_of_blocks_holds_more_of_them() -> None:
    def blocks(bits: int) -> int:
        cache = CacheOptions(kv_bits=bits, memory_bytes=64 * MIB, disk_bytes=64 * MIB)
        wanted = structs.replace(profile(hosts(1), context=4096), cache=cache)
        plan = make_plan(card(), wanted, facts(8 * GIB), {})
        assert plan.prefix_blocks == plan.prefix_disk_blocks
        return plan.prefix_blocks

    assert (
        blocks(16)
        == 64 * MIB // block_bytes(card(), 0, 6, BLOCK_TOKENS)
        == 64 * MIB // (BLOCK_TOKENS * 6 * 4096)
    )
    assert blocks(8) == 64 * MIB // (BLOCK_TOKENS * 6 * 1152)
    assert blocks(4) == 64 * MIB // (BLOCK_TOKENS * 6 * 640)


def test_layers_of_a_window_stay_as_they_are() -> None:
    mixed = card(
        LayerCard(100 * MIB, 4096, kv_head=128), LayerCard(100 * MIB, 4096, kv_window=512, kv_head=128)
    )
    plain, eight = planned(16, mixed), planned(8, mixed)
    # order "reverse": rank 0 holds the last layer, which is the one of the window
    assert eight.stages[0].kv_bytes == plain.stages[0].kv_bytes
    assert eight.stages[1].kv_bytes < plain.stages[1].kv_bytes


def test_sequences_decode_one_by_one_so_a_step_of_all_takes_longer() -> None:
    assert planned(8).tokens_per_second_together < planned(16).tokens_per_second_together
    assert planned(8).tokens_per_second > planned(16).tokens_per_second


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        (card(LayerCard(1, 4096, kv_head=80), LayerCard(1, 4096, kv_head=128)), "heads of 80 numbers"),
        (card(LayerCard(1, 0, 64), LayerCard(1, 0, 64)), "no layer of it keeps"),
        (card(LayerCard(1, 4096, kv_window=8, kv_head=64), LayerCard(1, 0, 64)), "no layer of it keeps"),
        (card(architecture="bitnet"), "nobody tried it"),
        (card(architecture="deepseek_v3"), WITHOUT["deepseek_v3"]),
        (card(architecture="kimi_k2"), WITHOUT["deepseek_v3"]),
    ],
)
def test_what_cannot_be_had_is_refused_with_the_reason(of: ModelCard, reason: str) -> None:
    assert reason in why_not(of)
    with pytest.raises(PlanError, match="kv_bits under") as caught:
        planned(8, of)
    assert reason in caught.value.failure.cause
    assert planned(16, of).kv_bits == 0


def test_what_the_table_says_against_architectures_is_of_verified_ones() -> None:
    assert why_not(card()) == "" and why_not(card(architecture="mistral")) == ""
