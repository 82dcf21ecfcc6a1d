"""What the planner counts is what a loaded stage holds, and what its caches grow to."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mlx_lm.models.cache import KVCache, RotatingKVCache
from msgspec import structs

from ringcore.cache import sequence
from ringcore.models.load import check_resident, load_stage
from ringcore.planning.bits import at_four_bits
from ringcore.planning.needs import cache_tokens, windowed_tokens
from ringcore.planning.plan import make_plan
from ringcore.spec.plan import Plan
from ringcore.spec.profile import CacheOptions
from ringcore.spec.units import GIB
from tests.checkpoint.files import read_card
from tests.models.small import ARCHITECTURES, build
from tests.planning.worlds import facts, hosts, profile

LAYERS = 5
SPLITS = ((5,), (2, 3), (1, 3, 1))


def plan_of(folder: Path, layers: tuple[int, ...], dtype: str) -> Plan:
    count = len(layers)
    ring = profile(hosts(count), layers=layers, context=256, prefill_chunk=256)
    return make_plan(read_card(folder, dtype), ring, facts(*[8 * GIB] * count), {})


def compare(folder: Path, layers: tuple[int, ...], dtype: str) -> None:
    plan = plan_of(folder, layers, dtype)
    for stage in plan.stages:
        loaded = load_stage(folder, stage.shard, dtype=plan.dtype, on_progress=lambda _share, _text: None)
        check_resident(loaded, stage.weight_bytes)
        assert loaded.weight_bytes == pytest.approx(stage.weight_bytes, rel=0.002), stage


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "4bit"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_are_counted_as_a_rank_holds_them(architecture: str, quantized: bool, tmp_path: Path) -> None:
    folder = build(architecture, tmp_path / "model", quantized, LAYERS)
    for layers in SPLITS:
        compare(folder, layers, "float32")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_stored_in_half_precision_are_counted_as_stored_and_as_cast(
    architecture: str, tmp_path: Path
) -> None:
    folder = build(architecture, tmp_path / "model", True, LAYERS, dtype=mx.bfloat16)
    assert read_card(folder, "stored").dtype == "bfloat16"
    for dtype in ("stored", "float32", "float16"):
        compare(folder, (2, 3), dtype)


@pytest.mark.parametrize("architecture", ["qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3", "mixtral"])
def test_experts_stored_one_by_one_weigh_as_much_as_stacked(architecture: str, tmp_path: Path) -> None:
    separate = build(architecture, tmp_path / "one", layers=LAYERS, files=3, separate_experts=True)
    compare(separate, (2, 3), "float32")
    stacked = read_card(build(architecture, tmp_path / "all", layers=LAYERS), "float32")
    assert read_card(separate, "float32").layers == stacked.layers


@pytest.mark.parametrize("dtype", ["float32", "stored"])
def test_the_demo_model_weighs_what_the_plan_says(demo_model_path: Path, dtype: str) -> None:
    for layers in ((30,), (14, 16), (9, 10, 11)):
        compare(demo_model_path, layers, dtype)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_caches_hold_for_each_token_what_the_card_says(architecture: str, tmp_path: Path) -> None:
    folder = build(architecture, tmp_path / "model", layers=LAYERS)
    card = read_card(folder, "float32")
    plan = plan_of(folder, (LAYERS,), "float32")
    stage = load_stage(folder, plan.stages[0].shard, dtype="float32", on_progress=lambda *_: None)
    cache = stage.make_cache()
    mx.eval(stage(mx.zeros((1, 16), dtype=mx.int32), cache, False))
    held = sum(entry.nbytes for entry in cache)
    assert held == 256 * sum(layer.kv_bytes_per_token for layer in card.layers)
    assert plan.stages[0].kv_bytes == held // 256 * (plan.context + 255)


@given(
    context=st.integers(1, 1500),
    chunk=st.one_of(st.sampled_from([256, 512]), st.integers(1, 700)),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_no_cache_outgrows_what_is_counted(context: int, chunk: int, data: Any) -> None:
    prompt = data.draw(st.integers(1, context), label="prompt")
    cache = KVCache()
    ends = [*range(0, prompt, chunk), prompt, *range(prompt + 1, context + 1)]
    for start, end in pairwise(ends):
        rows = mx.zeros((1, 1, end - start, 1))
        cache.update_and_fetch(rows, rows)
    assert cache.offset == context
    assert cache.keys.shape[2] <= cache_tokens(context)


@given(
    context=st.integers(1, 1500),
    chunk=st.one_of(st.sampled_from([256, 512]), st.integers(1, 700)),
    window=st.integers(1, 700),
    data=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_no_windowed_cache_outgrows_what_is_counted(context: int, chunk: int, window: int, data: Any) -> None:
    prompt = data.draw(st.integers(1, context), label="prompt")
    cache = RotatingKVCache(max_size=window)
    ends = [*range(0, prompt, chunk), prompt, *range(prompt + 1, context + 1)]
    largest = 0
    for start, end in pairwise(ends):
        rows = mx.zeros((1, 1, end - start, 1))
        cache.update_and_fetch(rows, rows)
        largest = max(largest, cache.keys.shape[2])
    assert largest <= windowed_tokens(window, context, chunk)


@pytest.mark.parametrize("kv_bits", [16, 8, 4])
def test_a_prefill_stays_within_cache_and_workspace(kv_bits: int, tmp_path: Path) -> None:
    wide: dict[str, Any] = {"hidden_size": 256, "intermediate_size": 512, "max_position_embeddings": 4096}
    folder = build("llama", tmp_path / "model", layers=3, **wide)
    ring = profile(hosts(1), context=1024, prefill_chunk=256)
    ring = structs.replace(ring, cache=CacheOptions(kv_bits=kv_bits))
    plan = make_plan(read_card(folder, "float32"), ring, facts(8 * GIB), {})
    planned = plan.stages[0]
    stage = load_stage(
        folder, planned.shard, dtype="float32", on_progress=lambda *_: None, kv_bits=plan.kv_bits
    )
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    cache = stage.make_cache()
    for at in range(0, 1024, 256):
        mx.eval(stage(mx.zeros((1, 256), dtype=mx.int32), cache, at + 256 == 1024))
    grown = mx.get_peak_memory() - before
    assert grown <= planned.kv_bytes + planned.workspace_bytes
    assert grown >= planned.kv_bytes + planned.workspace_bytes // 2, "twice as much is not kept free"


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe", "deepseek_v2"])
def test_a_model_weighs_at_four_bits_what_its_card_foretells(architecture: str, tmp_path: Path) -> None:
    """Of float weights and of 8-bit ones, as `quantize_model` makes both."""
    small: dict[str, Any] = {"hidden_size": 128, "intermediate_size": 256, "moe_intermediate_size": 64}
    whole = read_card(build(architecture, tmp_path / "float", layers=LAYERS, **small), "float32")
    for bits in (8, 4):
        folder = build(architecture, tmp_path / str(bits), True, LAYERS, bits=bits, group_size=64, **small)
        card = read_card(folder, "float32")
        if bits == 8:
            from_eight = at_four_bits(card)
    from_float = at_four_bits(whole)
    assert from_float is not None and from_eight is not None and at_four_bits(card) is None
    for foretold in (from_float, from_eight):
        for ours, real in zip(foretold.layers, card.layers, strict=True):
            # The router, which gets 8 bits, is a large part of layers as small as these.
            assert ours.weight_bytes == pytest.approx(real.weight_bytes, rel=0.02)
        assert foretold.embedding_bytes == card.embedding_bytes
        assert foretold.head_bytes == card.head_bytes


def test_a_prefill_of_a_state_space_model_stays_within_what_is_counted(tmp_path: Path) -> None:
    mixer = {"mamba_d_ssm": 512, "mamba_n_heads": 8, "mamba_d_head": 64, "mamba_d_state": 64}
    folder = build("falcon_h1", tmp_path / "model", layers=4, max_position_embeddings=4096, **mixer)
    ring = profile(hosts(1), context=512, prefill_chunk=256)
    planned = make_plan(read_card(folder, "float32"), ring, facts(8 * GIB), {}).stages[0]
    stage = load_stage(folder, planned.shard, dtype="float32", on_progress=lambda *_: None)
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    cache = stage.make_cache()
    for at in (0, 256):
        out = stage(mx.zeros((1, 256), dtype=mx.int32), cache, at == 256)
        mx.eval(out, sequence.states(cache))
    grown = mx.get_peak_memory() - before
    assert grown <= planned.kv_bytes + planned.workspace_bytes
    assert grown >= (planned.kv_bytes + planned.workspace_bytes) // 2, "twice as much is not kept free"
