"""A model cut into stages says what it says whole."""

from pathlib import Path

import mlx.core as mx
import pytest
from mlx_lm.models.cache import KVCache
from mlx_lm.utils import load_model

from ringcore.cache import sequence
from tests.models.configs.common import VOCABULARY
from tests.models.running import CHUNKS, PROMPT, greedy, greedy_by_mlx_lm, load, prefill, step
from tests.models.small import ARCHITECTURES, build

LAYERS = 5
CUTS = [(0, 5), (0, 1, 5), (0, 2, 3, 5), (0, 1, 3, 4, 5)]
OTHER_PROMPT = tuple((53 * i + 5) % VOCABULARY for i in range(len(PROMPT)))


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "4bit"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_stages_answer_token_for_token_as_mlx_lm(architecture: str, quantized: bool, tmp_path: Path) -> None:
    folder = build(architecture, tmp_path / "model", quantized, LAYERS, files=3)
    expected = greedy_by_mlx_lm(folder)
    assert len(set(expected)) > 20, "an answer of few different tokens compares nothing"
    for bounds in CUTS:
        assert greedy(load(folder, *bounds)) == expected, bounds


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "4bit"])
@pytest.mark.parametrize("architecture", ["qwen2_moe", "deepseek_v2", "deepseek_v3", "mixtral"])
def test_experts_stored_one_by_one_are_stacked_in_every_stage(
    architecture: str, quantized: bool, tmp_path: Path
) -> None:
    folder = build(architecture, tmp_path / "model", quantized, LAYERS, separate_experts=True)
    assert greedy(load(folder, 0, 2, 4, 5)) == greedy_by_mlx_lm(folder)


def test_qwen3_moe_experts_stored_one_by_one_are_stacked_in_every_stage(tmp_path: Path) -> None:
    folder = build("qwen3_moe", tmp_path / "model", layers=LAYERS, separate_experts=True)
    assert greedy(load(folder, 0, 2, 4, 5)) == greedy_by_mlx_lm(folder)


def test_sliding_layers_keep_their_window_wherever_the_cut_is(tmp_path: Path) -> None:
    kinds = [
        "full_attention",
        "sliding_attention",
        "sliding_attention",
        "full_attention",
        "sliding_attention",
    ]
    folder = build("llama", tmp_path / "model", layers=LAYERS, layer_types=kinds, sliding_window=8)
    expected = greedy_by_mlx_lm(folder)
    assert expected != greedy_by_mlx_lm(build("llama", tmp_path / "full", layers=LAYERS))
    for bounds in CUTS:
        assert greedy(load(folder, *bounds)) == expected, bounds


def test_half_precision_weights_cast_at_load_answer_as_mlx_lm_does_when_cast(tmp_path: Path) -> None:
    half = build("qwen3", tmp_path / "half", quantized=True, layers=LAYERS, dtype=mx.bfloat16)
    model, _ = load_model(half)
    model.set_dtype(mx.float32)
    stages = load(half, 0, 2, 5)
    logits = prefill(stages, [stage.make_cache() for stage in stages], [PROMPT])
    expected = model(mx.array([PROMPT]))[:, -1]
    assert stages[0].dtype == logits.dtype == mx.float32
    assert mx.allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_hidden_states_keep_the_checkpoints_dtype_when_none_is_asked_for(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS, dtype=mx.bfloat16)
    first, last = load(folder, 0, 2, 5, dtype="auto")
    hidden = first(mx.array([PROMPT]), first.make_cache())
    assert first.dtype == last.dtype == hidden.dtype == mx.bfloat16
    assert hidden.shape == (1, len(PROMPT), first.hidden_size)
    assert last(hidden, last.make_cache()).shape == (1, VOCABULARY)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_two_sequences_of_one_length_answer_together_as_alone(architecture: str, tmp_path: Path) -> None:
    stages = load(build(architecture, tmp_path / "model", layers=LAYERS), 0, 3, 5)
    alone = [greedy(stages, prompt, 16) for prompt in (PROMPT, OTHER_PROMPT)]
    caches = [stage.make_cache() for stage in stages]
    logits = prefill(stages, caches, [PROMPT, OTHER_PROMPT])
    together: list[list[int]] = []
    while len(together) < 16:
        together.append([int(token) for token in mx.argmax(logits, axis=-1).tolist()])
        logits = step(stages, caches, [[token] for token in together[-1]])
    assert [list(row) for row in zip(*together, strict=True)] == alone


@pytest.mark.parametrize("architecture", ["llama", "qwen3_moe", "deepseek_v3"])
def test_merged_caches_of_different_lengths_decode_as_each_alone(architecture: str, tmp_path: Path) -> None:
    stages = load(build(architecture, tmp_path / "model", layers=LAYERS), 0, 3, 5)
    singles = [[stage.make_cache() for stage in stages] for _ in range(2)]
    step(stages, singles[0], [PROMPT])
    step(stages, singles[1], [PROMPT[:7]])
    merged = [
        [KVCache.merge(list(entries)) for entries in zip(*caches, strict=True)]
        for caches in zip(*singles, strict=True)
    ]
    together = step(stages, merged, [[5], [9]])
    alone = [step(stages, caches, [[token]])[0] for caches, token in zip(singles, (5, 9), strict=True)]
    assert mx.allclose(together, mx.stack(alone), rtol=1e-4, atol=1e-4)


def test_a_chunk_without_logits_fills_the_caches_and_skips_the_head(tmp_path: Path) -> None:
    (stage,) = load(build("llama", tmp_path / "model", layers=LAYERS), 0, LAYERS)
    cache, reference = stage.make_cache(), stage.make_cache()
    out = stage(mx.array([PROMPT]), cache, want_logits=False)
    mx.eval(out)
    stage(mx.array([PROMPT]), reference)
    assert out.shape != (1, VOCABULARY)
    assert max(entry.offset for entry in cache) == len(PROMPT)
    for held, expected in zip(sequence.arrays(cache), sequence.arrays(reference), strict=True):
        assert mx.array_equal(held, expected)


def test_the_chunks_of_the_prompt_do_not_all_have_one_length() -> None:
    assert sum(CHUNKS) == len(PROMPT)
    assert len(set(CHUNKS)) > 1
