"""What a stage is sent is what it loads: to the byte, for every verified architecture."""

import shutil
from pathlib import Path

import mlx.core as mx
import pytest

from ringcore.checkpoint.survey import Tensor, survey
from ringcore.models.load import check_resident, load_stage
from ringcore.planning import architectures
from ringcore.planning.share import reads, units, units_of_stage
from ringcore.spec.shard import Shard
from tests.models.small import ARCHITECTURES, build

LAYERS = 5
STAGES = (Shard(0, 2, LAYERS), Shard(2, 4, LAYERS), Shard(4, 5, LAYERS))
REST = [name for name in architectures.VERIFIED if name not in ARCHITECTURES]


@pytest.mark.parametrize(
    "name", [*ARCHITECTURES, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
def test_a_folder_with_a_stages_units_alone_loads_as_the_whole_model_does(name: str, tmp_path: Path) -> None:
    whole = build(name, tmp_path / "whole")
    found = survey(whole)
    having = units(found["config"], [Tensor(*entry) for entry in found["tensors"]])
    arrays = mx.load(str(whole / "model.safetensors"))
    for number, shard in enumerate(STAGES):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(whole / "config.json", folder)
        share = 0
        for unit in units_of_stage(found["config"], having, shard):
            tensors = having[unit]
            share += sum(tensor.nbytes for tensor in tensors)
            mx.save_safetensors(
                str(folder / f"model-{unit}.safetensors"), {each.name: arrays[each.name] for each in tensors}
            )
        stage = load_stage(folder, shard, dtype="float32", on_progress=lambda _share, _text: None)
        check_resident(stage, share, tolerance=0)


def test_towers_and_layers_past_the_last_are_sent_to_nobody_and_the_unknown_to_everybody() -> None:
    names = ("model.layers.0.a", "model.layers.1.a", "model.layers.2.a", "vision_tower.b", "model.odd.c")
    config = {"model_type": "llama", "num_hidden_layers": 2}
    having = units(config, [Tensor(name, "F32", (1,), 4) for name in names])
    assert list(having) == ["other", "layer-0000", "layer-0001"]
    assert units_of_stage(config, having, Shard(1, 2, 2)) == ("other", "layer-0001")


def test_a_tied_embedding_goes_to_both_ends_and_positions_to_the_first_only() -> None:
    names = ("wte.weight", "wpe.weight", "h.0.a", "h.1.a", "ln_f.weight")
    config = {"model_type": "gpt2", "n_layer": 2}
    having = units(config, [Tensor(name, "F32", (1,), 4) for name in names])
    assert units_of_stage(config, having, Shard(0, 1, 2)) == ("embedding", "positions", "layer-0000")
    assert units_of_stage(config, having, Shard(1, 2, 2)) == ("embedding", "layer-0001", "norm")


def test_a_rank_reads_the_config_the_leader_a_tokenizer_too_and_nobody_code() -> None:
    names = (
        "config.json",
        "tokenizer.json",
        "merges.txt",
        "chat_template.jinja",
        "model.py",
        ".x.json",
        "a b.json",
    )
    found = [name for name in (*names, "model.safetensors.index.json") if reads(name, tokenizer=False)]
    assert found == ["config.json"]
    assert [name for name in names if reads(name, tokenizer=True)] == list(names[:4])
