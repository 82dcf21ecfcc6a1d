"""A head that two stages share gives the tokens of the whole one, in every model that may share it."""

from pathlib import Path

import mlx.core as mx
import pytest

from ringcore.models.load import load_stage
from ringcore.models.stage import ModelStage
from ringcore.planning.head import SHARES
from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard
from tests.models.configs.common import LAYERS, VOCABULARY
from tests.models.running import PROMPT, greedy_whole, prefill, step
from tests.models.small import build, save
from tests.planning.test_head_of_models import tied_config

ANSWER = 24
ROWS = 128


def load(folder: Path, start: int, end: int, rows: int = ROWS) -> ModelStage:
    shard = Shard(start, end, LAYERS)
    return load_stage(folder, shard, dtype="float32", on_progress=lambda *_: None, head_rows=rows)


def tied(architecture: str, folder: Path, quantized: bool) -> Path:
    config = tied_config(architecture)
    assert config is not None
    build(architecture, folder, quantized, **config)
    weights = mx.load(str(folder / "model.safetensors"))
    assert isinstance(weights, dict)
    if any("lm_head" in name for name in weights):  # tied by what the file does not hold
        save({name: array for name, array in weights.items() if "lm_head" not in name}, folder)
    return folder


def joined(first: ModelStage, last: ModelStage, hidden: mx.array) -> mx.array:
    assert first.head is not None and last.head is not None
    logits = mx.concatenate([first.head.part(hidden), last.head.part(hidden)], axis=1)
    assert mx.array_equal(mx.argmax(logits), mx.argmax(last.head.whole(hidden)))
    assert mx.array_equal(mx.argmax(logits), mx.argmax(first.head.whole(hidden)))
    return logits


@pytest.mark.parametrize(
    "quantized", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["float32", "4bit"]
)
@pytest.mark.parametrize("architecture", SHARES)
def test_the_parts_of_a_shared_head_are_the_head(architecture: str, quantized: bool, tmp_path: Path) -> None:
    folder = tied(architecture, tmp_path / "model", quantized)
    first, last = load(folder, 0, 3), load(folder, 3, LAYERS)
    caches = [first.make_cache(), last.make_cache()]
    answer: list[int] = []
    hidden = prefill([first, last], caches, [PROMPT])
    while len(answer) < ANSWER:
        answer.append(int(mx.argmax(joined(first, last, hidden)).item()))
        hidden = step([first, last], caches, [answer[-1:]])
    assert answer == greedy_whole(folder, ANSWER)


def test_a_head_of_its_own_is_not_shared(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", tie_word_embeddings=False)
    with pytest.raises(PlanError, match="is not its embedding"):
        load(folder, 3, LAYERS)


def test_what_stages_hand_on_must_be_what_goes_into_the_head(tmp_path: Path) -> None:
    folder = build("rwkv7", tmp_path / "model", tie_word_embeddings=True)
    with pytest.raises(PlanError, match="more than hidden states"):
        load(folder, 0, 3)


@pytest.mark.parametrize(("start", "end"), [(0, 3), (3, LAYERS)])
def test_a_model_with_fewer_rows_than_the_plans_is_refused(start: int, end: int, tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", tie_word_embeddings=True)
    assert load(folder, start, end, VOCABULARY - 1).head is not None
    with pytest.raises(PlanError, match=f"{VOCABULARY} rows of the head, .* has {VOCABULARY} in all"):
        load(folder, start, end, VOCABULARY)
