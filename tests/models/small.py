"""Small random models, one for each supported architecture, saved as real MLX folders within 50 ms.

Knows only mlx-lm; the tests that cut such a model into stages are elsewhere.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx.utils import tree_flatten, tree_map_with_path
from mlx_lm.utils import quantize_model

VOCABULARY = 200
HIDDEN = 64
GROUP_SIZE = 32

_ATTENTION: dict[str, Any] = {
    "hidden_size": HIDDEN,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 1024,
    "rope_theta": 10000.0,
}
_DEEPSEEK: dict[str, Any] = {
    **_ATTENTION,
    "num_key_value_heads": 4,
    "moe_intermediate_size": 32,
    "n_shared_experts": 1,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 2,
    "kv_lora_rank": 32,
    "qk_rope_head_dim": 16,
    "qk_nope_head_dim": 32,
    "v_head_dim": 32,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "llama": {**_ATTENTION, "tie_word_embeddings": True},
    "qwen2": {**_ATTENTION, "tie_word_embeddings": False},
    "qwen3": {**_ATTENTION, "head_dim": 32, "tie_word_embeddings": True},
    "qwen2_moe": {
        **_ATTENTION,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 64,
    },
    "qwen3_moe": {
        **_ATTENTION,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [1],
        "moe_intermediate_size": 32,
        "head_dim": 32,
        "tie_word_embeddings": False,
        "norm_topk_prob": True,
    },
    "deepseek_v2": {
        **_DEEPSEEK,
        "q_lora_rank": None,
        "topk_method": "greedy",
        "rope_scaling": {
            "type": "yarn",
            "factor": 4.0,
            "original_max_position_embeddings": 256,
            "mscale": 0.7,
            "mscale_all_dim": 0.7,
        },
    },
    "deepseek_v3": {**_DEEPSEEK, "q_lora_rank": 32, "n_group": 2, "topk_group": 1},
    "mixtral": {**_ATTENTION, "num_local_experts": 4, "num_experts_per_tok": 2},
}
ARCHITECTURES = tuple(CONFIGS)

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
    layers: int = 5,
    *,
    files: int = 1,
    separate_experts: bool = False,
    dtype: mx.Dtype = mx.float32,
    seed: int = 7,
    **config_changes: Any,
) -> Path:
    """Write ``config.json`` and safetensors of a random model into ``folder`` (made when missing).

    ``quantized``: 4 bit, group size 32. ``files`` above 1 writes that many files and an index, tensors dealt
    out in the order of the layers. ``separate_experts`` stores experts one by one, as originals do.
    Needs ``dtype`` float32 to run on a CPU. Returns ``folder``.
    """
    config = {"model_type": architecture, "num_hidden_layers": layers, **CONFIGS[architecture]}
    config |= config_changes
    module = importlib.import_module(f"mlx_lm.models.{architecture}")
    mx.random.seed(seed)
    model = module.Model(module.ModelArgs.from_dict(config))
    model.update(tree_map_with_path(lambda path, array: _scaled(path, array, dtype), model.parameters()))
    if quantized:
        model, config = quantize_model(model, config, group_size=GROUP_SIZE, bits=4)
    weights = dict(tree_flatten(model.parameters()))
    if separate_experts:
        weights = _separate(weights, *_EXPERTS[architecture])
    folder.mkdir(parents=True, exist_ok=True)
    save(weights, folder, files)
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    return folder


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


def _scaled(path: str, array: mx.array, dtype: mx.Dtype) -> mx.array:
    # Larger than a real start of training: otherwise every token predicts itself and nothing is compared.
    if path.endswith("e_score_correction_bias"):
        return mx.random.normal(array.shape) * 0.1
    if array.ndim == 1:
        return (array + 0.2 * mx.random.normal(array.shape)).astype(dtype)
    return (mx.random.normal(array.shape) * (2.5 / array.shape[-1] ** 0.5)).astype(dtype)


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
        return int(parts[parts.index("layers") + 1]), name
    return (-1 if "embed" in name else 1 << 30), name
