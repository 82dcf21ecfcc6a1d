"""Small random models, one for each verified architecture, saved as real MLX folders within 50 ms.

Knows only mlx-lm; the tests that cut such a model into stages are elsewhere.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.utils import quantize_model

from tests.models.configs import ALL
from tests.models.configs.common import HIDDEN as HIDDEN
from tests.models.configs.common import LAYERS
from tests.models.configs.common import VOCABULARY as VOCABULARY

GROUP_SIZE = 32
# These keep every token's embedding the loudest in what they say of it unless it starts quiet.
QUIET = dict.fromkeys(("gear", "gemma2", "gemma4", "gemma4_text", "plamo2", "plamo3"), 0.02)
# Where the usual seed makes a model that says little.
SEEDS = {"gpt_neox": 9}

# Those that more than one test goes through.
ARCHITECTURES = (
    "llama",
    "qwen2",
    "qwen3",
    "qwen2_moe",
    "qwen3_moe",
    "deepseek_v2",
    "deepseek_v3",
    "mixtral",
)

# What mlx-lm's `sanitize` stacks: the module that holds the experts, and their names in the original.
_EXPERTS = {
    "qwen2_moe": ("mlp", {}),
    "qwen3_moe": ("mlp", {}),
    "deepseek_v2": ("mlp", {}),
    "deepseek_v3": ("mlp", {}),
    "mixtral": ("block_sparse_moe", {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}),
}


def build(
    architecture: str,
    folder: Path,
    quantized: bool = False,
    layers: int = LAYERS,
    *,
    files: int = 1,
    separate_experts: bool = False,
    dtype: mx.Dtype = mx.float32,
    seed: int | None = None,
    bits: int = 4,
    group_size: int = GROUP_SIZE,
    **config_changes: Any,
) -> Path:
    """Write ``config.json`` and safetensors of a random model into ``folder`` (made when missing).

    ``quantized``: with ``bits`` and ``group_size``. ``files`` above 1 writes that many files and an index,
    tensors dealt out in the order of the layers. ``separate_experts`` stores experts one by one, as originals
    do. Needs ``dtype`` float32 to run on a CPU. Returns ``folder``.
    """
    config = {"model_type": architecture, **ALL[architecture]} | _depth(architecture, layers) | config_changes
    module = importlib.import_module(f"mlx_lm.models.{architecture}")
    mx.random.seed(SEEDS.get(architecture, 7) if seed is None else seed)
    quiet = QUIET.get(architecture, 1.0)
    model = module.Model(module.ModelArgs.from_dict(config))
    model.update(
        tree_map_with_path(lambda path, array: _scaled(path, array, dtype, quiet), model.parameters())
    )
    if quantized:
        model, config = quantize_model(model, config, group_size=group_size, bits=bits)
    weights = dict(tree_flatten(model.parameters()))
    if separate_experts:
        weights = _separate(weights, *_EXPERTS[architecture])
    folder.mkdir(parents=True, exist_ok=True)
    save(weights, folder, files)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


def _depth(architecture: str, layers: int) -> dict[str, int]:
    assert layers == LAYERS or "num_hidden_layers" in ALL[architecture], "its layers are listed one by one"
    return {"num_hidden_layers": layers} if "num_hidden_layers" in ALL[architecture] else {}


def save(weights: dict[str, mx.array], folder: Path, files: int = 1) -> None:
    """Write ``weights`` as MLX does: one ``model.safetensors``, or ``files`` of them and an index."""
    names = sorted(weights, key=_layer_order)
    if files == 1:
        mx.save_safetensors(str(folder / "model.safetensors"), weights, metadata={"format": "mlx"})
        return
    weight_map: dict[str, str] = {}
    for number in range(files):
        file = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        part = names[number * len(names) // files : (number + 1) * len(names) // files]
        mx.save_safetensors(str(folder / file), {name: weights[name] for name in part}, {"format": "mlx"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _scaled(path: str, array: mx.array, dtype: mx.Dtype, quiet: float) -> mx.array:
    # Larger than a real start of training, and layers louder than their input: otherwise
    # every token predicts itself and nothing is compared.
    if path.endswith("e_score_correction_bias"):
        return mx.random.normal(array.shape) * 0.1
    if array.ndim < 2:
        return (array + 0.2 * mx.random.normal(array.shape)).astype(dtype)
    scale = 2.5 * (quiet if path.endswith("embed_tokens.weight") else 1)
    return (mx.random.normal(array.shape) * (scale / array.shape[-1] ** 0.5)).astype(dtype)


def _separate(weights: dict[str, mx.array], holder: str, names: dict[str, str]) -> dict[str, mx.array]:
    separate: dict[str, mx.array] = {}
    for name, array in weights.items():
        before, found, after = name.partition(f".{holder}.switch_mlp.")
        if not found:
            separate[name] = array
            continue
        projection, kind = after.split(".")
        for expert in range(array.shape[0]):
            key = f"{before}.{holder}.experts.{expert}.{names.get(projection, projection)}.{kind}"
            separate[key] = array[expert]
    return separate


def _layer_order(name: str) -> tuple[int, str]:
    parts = name.split(".")
    if "layers" in parts:
        return next((int(part) for part in parts if part.isdigit()), 0), name
    return (-1 if "embed" in name else 1 << 30), name
