"""What verified means: every verified architecture, cut into stages, is the model that mlx-lm runs whole."""

import importlib
import pkgutil
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import mlx_lm.models
import pytest
from mlx_lm.utils import MODEL_ARCHITECTURE_REMAPPING, MODEL_REMAPPING

from ringcore.cache.batches import Batches, can_merge
from ringcore.models import registry
from ringcore.models.stage import ModelStage, SequenceCache
from ringcore.planning import architectures
from ringcore.planning.kept import CACHE_STEP
from ringcore.planning.needs import Needs
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from tests.checkpoint.files import read_card
from tests.models.configs import ALL
from tests.models.configs.common import VOCABULARY
from tests.models.running import CHUNKS, PROMPT, greedy, greedy_whole, load, prefill, step
from tests.models.small import build

LAYERS = 5
CUTS = ((0, 2, 5), (0, 1, 3, 5))
ANSWER = 24
OTHER_PROMPT = tuple((53 * i + 5) % VOCABULARY for i in range(len(PROMPT)))
# Modules of mlx-lm that are parts of models.
PARTS = {
    "activations",
    "base",
    "bitlinear_layers",
    "cache",
    "gated_delta",
    "mla",
    "pipeline",
    "rope_utils",
    "ssm",
    "switch_layers",
}

# Whose own code or caches know one position for all sequences of a call.
ONE_BY_ONE = {
    "bailing_hybrid",
    "bailing_moe_linear",
    "gemma2",
    "gpt_bigcode",
    "internlm3",
    "llama4",
    "minimax_m3_vl",
    "phi3small",
}


@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_two_and_three_stages_are_the_whole_model(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model")
    expected = greedy_whole(folder, count=ANSWER)
    assert len(set(expected)) > ANSWER // 3, "an answer of few different tokens compares nothing"
    card = read_card(folder, "float32")
    told: set[tuple[str, ...]] = set()
    for bounds in CUTS:
        stages = load(folder, *bounds)
        told.add(fingerprints(stages))
        assert greedy(stages, count=ANSWER) == expected, bounds
        assert weights(stages) == planned_weights(card, bounds), bounds
        assert caches(stages) == planned_caches(card, bounds), bounds
    assert len(told) == 1, "what blocks hang on is the same in every split"


def fingerprints(stages: list[ModelStage]) -> tuple[str, ...]:
    return stages[0].fingerprints()[0], *(each for stage in stages for each in stage.fingerprints()[1])


def weights(stages: list[ModelStage]) -> list[int]:
    return [stage.weight_bytes for stage in stages]


def planned_weights(card: ModelCard, bounds: tuple[int, ...]) -> list[int]:
    needs = Needs(card, context=16, sequences=1, prefill_chunk=16)
    return [needs.weights(start, end) for start, end in pairwise(bounds)]


def caches(stages: list[ModelStage]) -> list[int]:
    """Bytes that each stage's caches hold once the prompt came in one chunk."""
    made = [stage.make_cache() for stage in stages]
    step(stages, made, [PROMPT])
    return [sum(entry.nbytes for entry in cache) for cache in made]


def planned_caches(card: ModelCard, bounds: tuple[int, ...]) -> list[int]:
    each: list[int] = []
    for layer in card.layers:
        # A rotating cache keeps the chunk as it came, others grow by whole steps.
        tokens = len(PROMPT) if 0 < layer.kv_window < CACHE_STEP else CACHE_STEP
        each.append(tokens * layer.kv_bytes_per_token + layer.state_bytes_per_sequence)
    return [sum(each[start:end]) for start, end in pairwise(bounds)]


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_quantised_stages_are_the_whole_model(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model", quantized=True)
    expected = greedy_whole(folder, count=ANSWER)
    card = read_card(folder, "float32")
    for bounds in CUTS:
        stages = load(folder, *bounds)
        assert greedy(stages, count=ANSWER) == expected, bounds
        assert weights(stages) == planned_weights(card, bounds), bounds


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_every_cut_answers_as_the_whole_model(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model", files=3)
    expected = greedy_whole(folder, count=48)
    for bounds in ((0, 5), (0, 1, 5), (0, 4, 5), (0, 2, 3, 5), (0, 1, 2, 3, 4, 5)):
        assert greedy(load(folder, *bounds), count=48) == expected, bounds


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_two_sequences_of_one_length_answer_together_as_alone(name: str, tmp_path: Path) -> None:
    stages = load(build(name, tmp_path / "model"), 0, 3, LAYERS)
    alone = [greedy(stages, prompt, 16) for prompt in (PROMPT, OTHER_PROMPT)]
    made = [stage.make_cache() for stage in stages]
    logits = prefill(stages, made, [PROMPT, OTHER_PROMPT])
    together: list[list[int]] = []
    while len(together) < 16:
        together.append([int(token) for token in mx.argmax(logits, axis=-1).tolist()])
        logits = step(stages, made, [[token] for token in together[-1]])
    assert [list(row) for row in zip(*together, strict=True)] == alone


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_sequences_of_different_lengths_decode_together_as_alone(name: str, tmp_path: Path) -> None:
    stages = load(build(name, tmp_path / "model"), 0, 1, 3, LAYERS)
    if not all(stage.merges and can_merge(stage.make_cache()) for stage in stages):
        assert name in ONE_BY_ONE
        return
    alone: list[list[int]] = []
    batches = [Batches() for _ in stages]
    for slot, prompt in enumerate((PROMPT, PROMPT[5:18])):
        made = [stage.make_cache() for stage in stages]
        alone.append(decode(stages, made, [[int(mx.argmax(step(stages, made, [prompt])).item())]])[0])
        for stage, batch in zip(stages, batches, strict=True):
            batch.open(slot, stage.make_cache())
        step(stages, [batch.one(slot) for batch in batches], [prompt])
    first = [[answer[0]] for answer in alone]
    assert decode(stages, [batch.several((0, 1)) for batch in batches], first) == alone


def decode(
    stages: list[ModelStage], made: list[SequenceCache], tokens: list[list[int]], count: int = 10
) -> list[list[int]]:
    """``count`` tokens of each sequence from its first on, greedy."""
    answers = [list(row) for row in tokens]
    while len(answers[0]) < count:
        logits = step(stages, made, [[answer[-1]] for answer in answers])
        for answer, token in zip(answers, mx.argmax(logits, axis=-1).tolist(), strict=True):
            answer.append(int(token))
    return answers


def test_there_is_a_small_configuration_of_every_verified_architecture_and_of_no_other() -> None:
    assert sorted(ALL) == sorted(architectures.VERIFIED)


def test_the_table_names_every_architecture_of_mlx_lm_once() -> None:
    names = {module.name for module in pkgutil.iter_modules(mlx_lm.models.__path__)} - PARTS
    assert sorted(row.name for row in architectures.table()) == sorted(names)


def test_names_that_stand_for_another_architecture_are_those_of_mlx_lm() -> None:
    assert dict(architectures.SAME_AS) == MODEL_REMAPPING
    assert dict(architectures.SAME_BY_CLASS) == MODEL_ARCHITECTURE_REMAPPING


def test_an_adapter_is_for_an_architecture_that_the_table_knows() -> None:
    assert registry.ADAPTERS.keys() <= {row.name for row in architectures.table()}


def test_what_is_not_verified_is_tried_only_when_the_operator_allows_it() -> None:
    with pytest.raises(PlanError, match="allow_unverified = true"):
        registry.find({"model_type": "bitnet"})
    module, _ = registry.find({"model_type": "bitnet"}, allow_unverified=True)
    assert module is importlib.import_module("mlx_lm.models.bitnet")


def test_what_is_refused_stays_refused_when_the_operator_allows_the_unverified() -> None:
    for name, reason in architectures.REFUSED.items():
        with pytest.raises(PlanError) as caught:
            registry.find({"model_type": name}, allow_unverified=True)
        assert reason in caught.value.failure.cause


def test_an_architecture_that_mlx_lm_does_not_have_is_refused_with_it() -> None:
    with pytest.raises(PlanError, match="mlx-lm"):
        registry.find({"model_type": "gpt99"}, allow_unverified=True)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gemma4_text", {"num_kv_shared_layers": 2}),
        ("gemma4_text", {"hidden_size_per_layer_input": 16}),
        ("helium", {"tie_word_embeddings": True}),
        ("hunyuan", {"use_cla": True}),
        ("nanbeige", {"num_loops": 2}),
    ],
)
def test_a_model_that_makes_more_of_its_architecture_than_a_cut_leaves_is_refused(
    name: str, change: dict[str, object]
) -> None:
    config = {"model_type": name, **ALL[name]}
    architectures.check(config)
    with pytest.raises(PlanError, match="cannot be cut"):
        architectures.check({**config, **change})


def test_the_prompt_passes_a_window_within_its_chunks() -> None:
    assert max(CHUNKS) > 8 and len(PROMPT) > 2 * 8
