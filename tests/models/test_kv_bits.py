"""Keys and values in few bits: stages answer as mlx-lm does in one process with the same caches."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from mlx_lm.utils import load_model
from msgspec import structs

from ringcore.cache.batches import can_merge
from ringcore.models.load import load_stage
from ringcore.models.stage import ModelStage
from ringcore.planning import architectures
from ringcore.planning.kept import CACHE_STEP
from ringcore.planning.kv_bits import WITHOUT, in_bits, why_not
from ringcore.planning.prefix import BLOCK_TOKENS, block_bytes
from ringcore.rank.batching import rows_per_step
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard
from tests.checkpoint.files import read_card
from tests.models.in_process import InProcess
from tests.models.kv_bits import build_wide, caches_in_bits, firm_answer, greedy_whole, quantized
from tests.models.running import PROMPT, greedy, step
from tests.models.small import VOCABULARY, build
from tests.ring.harness import make_plan

LAYERS = 5
CUTS = ((0, 2, 5), (0, 1, 3, 5))
ANSWER = 24
SHORT = 12
SOME = (
    ("llama", 8),
    ("llama", 4),
    ("qwen3_moe", 8),
    ("deepseek_v2", 4),
    ("gemma3_text", 8),
    ("falcon_h1", 4),
)


def load(folder: Path, bits: int, *bounds: int) -> list[ModelStage]:
    return [
        load_stage(
            folder,
            Shard(start, end, bounds[-1]),
            dtype="float32",
            on_progress=lambda _share, _text: None,
            kv_bits=bits,
        )
        for start, end in pairwise(bounds)
    ]


def held(stages: list[ModelStage]) -> list[int]:
    """Bytes that each stage's caches hold once the prompt came in one chunk."""
    made = [stage.make_cache() for stage in stages]
    step(stages, made, [PROMPT])
    return [sum(entry.nbytes for entry in cache) for cache in made]


def planned(card: ModelCard, bits: int, bounds: tuple[int, ...]) -> list[int]:
    each: list[int] = []
    for layer in in_bits(card, bits).layers:
        # A rotating cache keeps the chunk as it came, others grow by whole steps.
        tokens = len(PROMPT) if 0 < layer.kv_window < CACHE_STEP else CACHE_STEP
        each.append(tokens * layer.kv_bytes_per_token + layer.state_bytes_per_sequence)
    return [sum(each[start:end]) for start, end in pairwise(bounds)]


def stages_are_the_whole_model(folder: Path, bits: int) -> None:
    expected = greedy_whole(folder, bits, ANSWER)
    card = read_card(folder, "float32")
    for bounds in CUTS:
        stages = load(folder, bits, *bounds)
        assert greedy(stages, count=ANSWER) == expected, bounds
        assert held(stages) == planned(card, bits, bounds), bounds
    (whole,) = load(folder, 0, 0, LAYERS)
    assert sum(held(stages)) < sum(held([whole]))


@pytest.mark.parametrize(("name", "bits"), SOME)
def test_stages_with_caches_in_few_bits_are_the_whole_model(name: str, bits: int, tmp_path: Path) -> None:
    stages_are_the_whole_model(build_wide(name, tmp_path / "model"), bits)


def test_heads_of_64_numbers_are_grouped_by_64(tmp_path: Path) -> None:
    folder = build_wide("qwen3", tmp_path / "model", head_dim=64)
    stages_are_the_whole_model(folder, 8)
    assert {entry.group_size for entry in load(folder, 8, 0, LAYERS)[0].make_cache()} == {64}


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_the_table_says_of_every_architecture_whether_its_caches_can_be_of_few_bits(
    name: str, tmp_path: Path
) -> None:
    folder = build_wide(name, tmp_path / "model")
    card = read_card(folder, "float32")
    if name not in WITHOUT:
        assert why_not(card) == ""
        stages_are_the_whole_model(folder, 4 if architectures.VERIFIED.index(name) % 2 else 8)
        return
    assert why_not(card) == WITHOUT[name]
    with pytest.raises(PlanError, match="kv_bits"):
        load(folder, 8, 0, LAYERS)
    model, _ = load_model(folder)
    if quantized(caches_in_bits(model, 8)):
        with pytest.raises((ValueError, TypeError, AttributeError, RuntimeError)):
            greedy_whole(folder, 8, 2)


def prompt(length: int, seed: int = 0) -> list[int]:
    return [(37 * i * (seed + 1) + 11 * seed + i * i) % VOCABULARY for i in range(length)]


@pytest.mark.parametrize("bits", [8, pytest.param(4, marks=pytest.mark.slow)])
def test_sequences_answer_among_others_and_from_blocks_as_alone(bits: int, tmp_path: Path) -> None:
    folder = build_wide("llama", tmp_path / "model")
    model, _ = load_model(folder)
    shared = prompt(BLOCK_TOKENS + 30)
    first: list[tuple[list[int], list[int]]] = []
    following: list[tuple[list[int], list[int]]] = []
    for number in range(200):
        tokens = [*shared, *prompt(10 + number % 20, number)]
        answer = firm_answer(model, bits, tokens, SHORT)
        longer = [*tokens, *(answer or ()), 7]
        then = firm_answer(model, bits, longer, 4) if answer else None
        if answer and then:
            first.append((tokens, answer))
            following.append((longer, then))
        if len(first) == 3:
            break
    ring = InProcess(load(folder, bits, 0, 2, LAYERS), prefix_blocks=64)
    for time in ("first", "again"):
        for number, (tokens, _) in enumerate(first):
            ring.submit(f"{time}{number}", tokens, SHORT)
        ring.run()
    for number, (tokens, answer) in enumerate(first):
        assert ring.tokens(f"first{number}") == answer, (number, tokens)
        assert ring.tokens(f"again{number}") == answer, (number, tokens)
        assert ring.cached(f"again{number}") == BLOCK_TOKENS
        longer, then = following[number]
        assert ring.answer(f"then{number}", longer, 4) == then
        assert ring.cached(f"then{number}") == (len(longer) - 2) // BLOCK_TOKENS * BLOCK_TOKENS
    assert any(len(step.rows) > 1 for step in ring.steps)


def test_blocks_take_what_is_planned_and_come_back_from_disk(tmp_path: Path) -> None:
    folder = build_wide("qwen3", tmp_path / "model")
    card = in_bits(read_card(folder, "float32"), 8)
    stages = load(folder, 8, 0, 2, LAYERS)
    folders = [tmp_path / "a", tmp_path / "b"]
    model, _ = load_model(folder)
    prompts = (prompt(2 * BLOCK_TOKENS + 9, seed) for seed in range(200))
    tokens, expected = next(
        (each, answer) for each in prompts if (answer := firm_answer(model, 8, each, 8)) is not None
    )
    first = InProcess(stages, prefix_blocks=8, folders=folders)
    assert first.answer("a", tokens, 8) == expected
    assert [executor.blocks.nbytes for executor in first.executors] == [
        2 * block_bytes(card, 0, 2, BLOCK_TOKENS),
        2 * block_bytes(card, 2, LAYERS, BLOCK_TOKENS),
    ]
    first.settle()
    again = InProcess(stages, prefix_blocks=8, folders=folders)
    assert again.answer("a", tokens, 8) == expected
    assert again.cached("a") == 2 * BLOCK_TOKENS


@pytest.mark.parametrize(
    "name",
    ["gemma3_text", *(pytest.param(each, marks=pytest.mark.slow) for each in ("falcon_h1", "qwen3_next"))],
)
def test_windows_and_states_beside_caches_in_few_bits_come_from_blocks(name: str, tmp_path: Path) -> None:
    folder = build_wide(name, tmp_path / "model")
    model, _ = load_model(folder)
    prompts = (prompt(3 * BLOCK_TOKENS + 9, seed) for seed in range(200))
    tokens, expected = next(
        (each, answer) for each in prompts if (answer := firm_answer(model, 8, each, 8)) is not None
    )
    ring = InProcess(load(folder, 8, 0, 2, LAYERS), prefix_blocks=8)
    for time in ("cold", "warm"):
        assert ring.answer(time, tokens, 8) == expected
    assert ring.cached("cold") == 0 and ring.cached("warm") >= 2 * BLOCK_TOKENS
    card = in_bits(read_card(folder, "float32"), 8)
    blocks = len(ring.executors[0].blocks)
    assert ring.executors[1].blocks.nbytes <= blocks * block_bytes(card, 2, LAYERS, BLOCK_TOKENS)


def test_few_bits_are_refused_where_heads_cannot_be_grouped(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model")  # heads of 16
    with pytest.raises(PlanError, match="heads of 16 numbers"):
        load(folder, 8, 0, LAYERS)
    assert "heads of 16 numbers" in why_not(read_card(folder, "float32"))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mimo_v2_flash", {"add_full_attention_sink_bias": True}),
        ("gear", {"attn_logit_softcapping": 30.0}),
    ],
)
def test_what_a_config_makes_of_attention_is_refused(
    name: str, change: dict[str, Any], tmp_path: Path
) -> None:
    folder = build_wide(name, tmp_path / "model", **change)
    assert why_not(read_card(folder, "float32")) == "the attention of this model does not take them"
    with pytest.raises(PlanError, match="kv_bits"):
        load(folder, 8, 0, LAYERS)
    with pytest.raises((ValueError, AttributeError, TypeError)):
        greedy_whole(folder, 8, 2)


def test_such_caches_are_not_joined_and_sequences_decode_one_by_one(tmp_path: Path) -> None:
    folder = build_wide("falcon_h1", tmp_path / "model")  # a list of caches, of which one could be joined
    assert can_merge(load(folder, 0, 0, LAYERS)[0].make_cache())
    assert not can_merge(load(folder, 8, 0, LAYERS)[0].make_cache())
    plan = make_plan([3, 2])
    assert rows_per_step(folder, plan) > 1
    assert rows_per_step(folder, structs.replace(plan, kv_bits=8)) == 1
