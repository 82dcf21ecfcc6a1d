"""A stage reads its own tensors and no other, and says what is wrong with a folder."""

import gc
import json
import shutil
import struct
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from ringcore.models.load import check_resident, load_stage
from ringcore.planning.architectures import REFUSED
from ringcore.spec.errors import PlanError
from ringcore.spec.shard import Shard
from tests.models.running import greedy, greedy_by_mlx_lm, load
from tests.models.small import ARCHITECTURES, GROUP_SIZE, build, save

LAYERS = 5
INDEX = "model.safetensors.index.json"


def header(file: Path) -> tuple[dict[str, Any], int]:
    """Entries by tensor name, and where the data starts in the file."""
    with file.open("rb") as stream:
        (size,) = struct.unpack("<Q", stream.read(8))
        entries = json.loads(stream.read(size))
    entries.pop("__metadata__", None)
    return entries, 8 + size


def belongs(name: str, shard: Shard, *, tied: bool) -> bool:
    parts = name.split(".")
    if "layers" in parts:
        return int(parts[2]) in shard
    if "embed_tokens" in parts:
        return shard.is_first or (tied and shard.is_last)
    return shard.is_last


def all_but(shard: Shard, file: Path, *, tied: bool) -> tuple[int, int]:
    """Overwrite the data of every tensor outside ``shard`` by NaN; bytes inside and outside."""
    entries, start = header(file)
    inside = outside = 0
    with file.open("r+b") as stream:
        for name, entry in entries.items():
            begin, end = entry["data_offsets"]
            if belongs(name, shard, tied=tied):
                inside += end - begin
            else:
                outside += end - begin
                stream.seek(start + begin)
                stream.write(b"\xff" * (end - begin))
    return inside, outside


def refused(folder: Path, shard: Shard | None = None, dtype: str = "float32") -> PlanError:
    with pytest.raises(PlanError) as caught:
        load_stage(folder, shard or Shard(0, LAYERS, LAYERS), dtype=dtype, on_progress=lambda *_: None)
    assert caught.value.failure.remedy
    return caught.value


def rewrite(folder: Path, drop: str = "", **more: mx.array) -> None:
    """The model's single file without one tensor, or with more of them."""
    file = folder / "model.safetensors"
    weights = {name: mx.array(array) for name, array in mx.load(str(file)).items() if name != drop}
    mx.eval(weights)
    save({**weights, **more}, folder)


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "4bit"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_stage_holds_exactly_its_tensors_though_all_others_are_nan(
    architecture: str, quantized: bool, tmp_path: Path
) -> None:
    folder = build(architecture, tmp_path / "model", quantized, LAYERS)
    tied = json.loads((folder / "config.json").read_text()).get("tie_word_embeddings", False)
    for shard in (Shard(0, 2, LAYERS), Shard(2, 3, LAYERS), Shard(3, 5, LAYERS)):
        damaged = shutil.copytree(folder, tmp_path / f"from{shard.start}")
        inside, outside = all_but(shard, damaged / "model.safetensors", tied=tied)
        stage = load_stage(damaged, shard, dtype="float32", on_progress=lambda *_: None)
        assert outside > 0
        assert stage.weight_bytes == inside
        x = mx.array([[1, 2, 3]]) if shard.is_first else mx.ones((1, 3, stage.hidden_size))
        assert mx.all(mx.isfinite(stage(x, stage.make_cache())))


def test_files_without_a_tensor_of_the_stage_are_not_opened(tmp_path: Path) -> None:
    folder = build("qwen3", tmp_path / "model", layers=6, files=6)
    shard = Shard(2, 4, 6)
    weight_map = json.loads((folder / INDEX).read_text())["weight_map"]
    needed = {file for name, file in weight_map.items() if belongs(name, shard, tied=True)}
    whole = load(folder, 0, 2, 4, 6)[1].weight_bytes
    others = [file for file in folder.glob("*.safetensors") if file.name not in needed]
    others[0].write_bytes(b"cut short")
    for file in others[1:]:
        file.unlink()
    stage = load_stage(folder, shard, dtype="float32", on_progress=lambda *_: None)
    assert len(others) >= 2
    assert stage.weight_bytes == whole


def test_tied_embeddings_are_held_once_in_one_stage_and_by_both_ends_of_two(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    entries, _ = header(folder / "model.safetensors")
    begin, end = entries["model.embed_tokens.weight"]["data_offsets"]
    total = max(entry["data_offsets"][1] for entry in entries.values())
    assert [stage.weight_bytes for stage in load(folder, 0, LAYERS)] == [total]
    assert sum(stage.weight_bytes for stage in load(folder, 0, 3, LAYERS)) == total + end - begin


def test_multi_token_prediction_layers_past_the_last_are_left_in_the_file(tmp_path: Path) -> None:
    folder = build("deepseek_v3", tmp_path / "model", layers=LAYERS)
    before = greedy(load(folder, 0, 2, LAYERS), count=8)
    extra = {f"model.layers.{LAYERS}.eh_proj.weight": mx.ones((8, 8))}
    rewrite(folder, **extra)
    assert greedy(load(folder, 0, 2, LAYERS), count=8) == before


def test_the_memory_taken_is_the_stages_and_what_a_cast_was_made_from_is_freed(tmp_path: Path) -> None:
    folder = build("mixtral", tmp_path / "model", layers=8, dtype=mx.bfloat16, separate_experts=True)
    gc.collect()
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    stage = load_stage(folder, Shard(2, 6, 8), dtype="float32", on_progress=lambda *_: None)
    layer = stage.weight_bytes / 4
    assert stage.weight_bytes <= mx.get_active_memory() - before < stage.weight_bytes + layer / 4
    assert mx.get_peak_memory() - before < stage.weight_bytes + 2 * layer


def test_progress_rises_to_one_and_names_each_layer(tmp_path: Path) -> None:
    folder = build("qwen2", tmp_path / "model", layers=LAYERS)
    told: list[tuple[float, str]] = []
    load_stage(folder, Shard(1, 4, LAYERS), dtype="float32", on_progress=lambda *news: told.append(news))
    shares = [share for share, _ in told]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)
    assert all(any(f"layers.{layer} " in text for _, text in told) for layer in (1, 2, 3))


def test_modules_the_config_names_keep_their_own_quantisation(tmp_path: Path) -> None:
    folder = build("qwen3_moe", tmp_path / "model", quantized=True, layers=LAYERS)
    settings = json.loads((folder / "config.json").read_text())["quantization"]
    assert settings["model.layers.2.mlp.gate"]["bits"] == 8 != settings["bits"]
    entries, _ = header(folder / "model.safetensors")
    inside = sum(
        entry["data_offsets"][1] - entry["data_offsets"][0]
        for name, entry in entries.items()
        if belongs(name, Shard(2, 3, LAYERS), tied=False)
    )
    stage = load_stage(folder, Shard(2, 3, LAYERS), dtype="float32", on_progress=lambda *_: None)
    assert stage.weight_bytes == inside


def test_modules_the_config_names_are_left_alone_where_another_stage_holds_them(tmp_path: Path) -> None:
    folder = build("qwen2", tmp_path / "model", quantized=True, layers=LAYERS)
    config = json.loads((folder / "config.json").read_text())
    for path in ("model.embed_tokens", "lm_head"):
        config["quantization"][path] = {"group_size": GROUP_SIZE, "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    assert greedy(load(folder, 0, 2, 3, LAYERS)) == greedy_by_mlx_lm(folder)


def test_a_stage_that_is_not_the_size_of_the_plan_is_refused_with_both_numbers(tmp_path: Path) -> None:
    (stage,) = load(build("qwen2", tmp_path / "model", layers=LAYERS), 0, LAYERS)
    held = stage.weight_bytes
    check_resident(stage, int(held * 1.04))
    for expected in (int(held * 1.2), int(held * 0.8)):
        with pytest.raises(PlanError, match=rf"{held} bytes.*{expected} bytes"):
            check_resident(stage, expected)


def test_what_is_left_of_loading_counts_as_held(tmp_path: Path) -> None:
    (stage,) = load(build("llama", tmp_path / "model", layers=LAYERS), 0, LAYERS)
    planned = stage.weight_bytes
    check_resident(stage, planned, planned)
    check_resident(stage, planned, planned + (4 << 20))  # the allocator's pages
    with pytest.raises(PlanError, match=rf"take .* \({planned + (8 << 20)} bytes\)"):
        check_resident(stage, planned, planned + (8 << 20))


def test_a_missing_folder_or_config_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "nowhere") in str(refused(tmp_path / "nowhere"))
    assert f"{tmp_path / 'config.json'} is missing" in str(refused(tmp_path))


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_config_that_is_no_json_object_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    assert str(tmp_path / "config.json") in str(refused(tmp_path))


def test_a_config_that_lacks_a_size_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "hidden_size": 64}')
    assert "num_hidden_layers" in str(refused(tmp_path))


def test_an_architecture_that_cannot_be_cut_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gemma3n"}')
    message = str(refused(tmp_path))
    assert "'gemma3n'" in message
    assert REFUSED["gemma3n"] in message


def test_a_model_with_its_own_code_is_refused_without_running_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama", "model_file": "custom.py"}')
    (tmp_path / "custom.py").write_text("raise SystemExit('ran')")
    assert "custom.py" in str(refused(tmp_path))


def test_weights_in_another_librarys_quantisation_are_refused(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS, quantization_config={"quant_method": "gptq"})
    assert "'gptq'" in str(refused(folder))


def test_a_dtype_no_rank_can_compute_in_is_refused(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    assert "'float8'" in str(refused(folder, dtype="float8"))


def test_a_plan_for_another_number_of_layers_is_refused(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    assert "7 layers" in str(refused(folder, Shard(0, 7, 7)))


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    (folder / "model.safetensors").unlink()
    assert "model*.safetensors" in str(refused(folder))


def test_a_missing_tensor_is_named_with_its_file(tmp_path: Path) -> None:
    name = "model.layers.3.mlp.up_proj.weight"
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    rewrite(folder, drop=name)
    message = str(refused(folder))
    assert name in message
    assert str(folder / "model.safetensors") in message


def test_a_missing_expert_is_named_by_its_layer_in_the_file(tmp_path: Path) -> None:
    name = "model.layers.3.block_sparse_moe.experts.2.w1.weight"
    folder = build("mixtral", tmp_path / "model", layers=LAYERS, separate_experts=True)
    rewrite(folder, drop=name)
    assert name in str(refused(folder, Shard(2, 5, LAYERS)))


def test_a_tensor_without_a_place_is_named_with_its_file(tmp_path: Path) -> None:
    name = "model.layers.3.mlp.extra.weight"
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    rewrite(folder, **{name: mx.ones((4,))})
    message = str(refused(folder))
    assert f"{name} in {folder / 'model.safetensors'}" in message


def test_a_tensor_of_the_wrong_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    name = "model.norm.weight"
    folder = build("llama", tmp_path / "model", layers=LAYERS)
    rewrite(folder, drop=name, **{name: mx.ones((32,))})
    message = str(refused(folder))
    assert name in message
    assert "(32,)" in message
    assert "(64,)" in message


def test_a_file_the_index_names_but_is_gone_is_named(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS, files=2)
    gone = folder / "model-00002-of-00002.safetensors"
    gone.unlink()
    assert f"{gone} is missing" in str(refused(folder))


def test_a_tensor_the_index_places_in_the_wrong_file_is_named_with_it(tmp_path: Path) -> None:
    folder = build("llama", tmp_path / "model", layers=LAYERS, files=2)
    index = json.loads((folder / INDEX).read_text())
    name = "model.layers.0.mlp.up_proj.weight"
    index["weight_map"][name] = "model-00002-of-00002.safetensors"
    (folder / INDEX).write_text(json.dumps(index))
    assert f"{name} is not in {folder / 'model-00002-of-00002.safetensors'}" in str(refused(folder))


@pytest.mark.parametrize("keep", [0.9, 0.01, 0.0])
def test_a_file_cut_short_is_named(keep: float, tmp_path: Path) -> None:
    file = build("llama", tmp_path / "model", layers=LAYERS) / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * keep)])
    assert str(file) in str(refused(file.parent))
