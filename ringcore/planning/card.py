"""A model's card from its ``config.json`` and its tensors' names, dtypes and shapes. Pure.

What each tensor weighs once loaded follows mlx-lm's loading: floating tensors in the ring's dtype
(scales and biases of quantised ones too), packed ones as stored, tied heads and layers past the last
one (multi-token prediction) dropped, 8-bit floats of DeepSeek-V3 unpacked.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

from ringcore.checkpoint.survey import Tensor
from ringcore.planning.kv import Config, family, integer, kv_elements
from ringcore.planning.needs import ITEM_BYTES
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError

DTYPES = ("stored", *ITEM_BYTES)
_FLOATING = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float32"}
_F8 = ("F8_E4M3", "F8_E5M2")
_LAYER = re.compile(r"(?:^|\.)layers\.([0-9]+)\.")
_OUTER = {
    "embedding": re.compile(r"(?:^|\.)embed_tokens\."),
    "head": re.compile(r"(?:^|\.)lm_head\."),
    "norm": re.compile(r"(?:^|\.)norm\."),
}
_EXPERTS = re.compile(r"\.(?:experts|switch_mlp)\.")
_KEEPS_DTYPE = "e_score_correction_bias"  # mlx-lm's cast_predicate of deepseek_v3
_DROPPED = ("rotary_emb.inv_freq", "weight_scale_inv")
_TIED_BY_DEFAULT = ("llama", "qwen2")


def make_card(name: str, config: Config, tensors: Sequence[Tensor], dtype: str) -> ModelCard:
    """``dtype`` is what the ranks will cast to, or ``stored`` for the commonest one of the checkpoint.

    Raises `PlanError` when the architecture is unknown, or config and tensors do not make one model.
    """
    architecture = family(config)
    _refuse_foreign_quantization(config, architecture)
    count = integer(config, "num_hidden_layers")
    dtype = _stored_dtype(tensors) if dtype == "stored" else dtype
    layers = [0] * count
    read = [0.0] * count
    outer = dict.fromkeys(_OUTER, 0)
    chosen = _share_of_experts(config)
    for tensor in tensors:
        size = _loaded_bytes(tensor, dtype)
        match = _LAYER.search(tensor.name)
        if match is None:
            for part, pattern in _OUTER.items():
                outer[part] += size if pattern.search(tensor.name) else 0
        elif int(match[1]) < count:
            layers[int(match[1])] += size
            read[int(match[1])] += size * (chosen if _EXPERTS.search(tensor.name) else 1)
    tied = not architecture.startswith("deepseek") and bool(
        config.get("tie_word_embeddings", architecture in _TIED_BY_DEFAULT)
    )
    outer["head"] = outer["embedding"] if tied else outer["head"]
    _refuse_missing(layers, outer)
    kv = kv_elements(config) * ITEM_BYTES[dtype]
    return ModelCard(
        name=name,
        architecture=str(config["model_type"]),
        layers=tuple(
            LayerCard(weight_bytes=size, kv_bytes_per_token=kv, read_bytes_per_token=round(reads))
            for size, reads in zip(layers, read, strict=True)
        ),
        hidden_size=integer(config, "hidden_size"),
        vocab_size=integer(config, "vocab_size"),
        embedding_bytes=outer["embedding"],
        norm_bytes=outer["norm"],
        head_bytes=outer["head"],
        tied=tied,
        dtype=dtype,
        quantization=_quantization(config),
        attention_heads=integer(config, "num_attention_heads"),
        mlp_width=_mlp_width(config),
        max_context=integer(config, "max_position_embeddings", default=0),
        revision=_revision(config, tensors),
    )


def _loaded_bytes(tensor: Tensor, dtype: str) -> int:
    if tensor.name.endswith(_DROPPED):
        return 0
    if tensor.dtype in _F8 or (tensor.dtype in _FLOATING and not tensor.name.endswith(_KEEPS_DTYPE)):
        return prod(tensor.shape) * ITEM_BYTES[dtype]
    return tensor.nbytes


def _stored_dtype(tensors: Iterable[Tensor]) -> str:
    elements: Counter[str] = Counter()
    for tensor in tensors:
        if tensor.name.endswith(_DROPPED):
            continue
        found = "bfloat16" if tensor.dtype in _F8 else _FLOATING.get(tensor.dtype)
        if found is not None:
            elements[found] += prod(tensor.shape)
    if not elements:
        raise PlanError("the model has no floating tensors", "name the folder of an MLX model")
    return elements.most_common(1)[0][0]


def _share_of_experts(config: Config) -> float:
    experts = integer(config, "num_experts", "num_local_experts", "n_routed_experts", default=0)
    chosen = integer(config, "num_experts_per_tok", default=experts)
    return min(1.0, chosen / experts) if experts else 1.0


def _mlp_width(config: Config) -> int:
    dense = integer(config, "intermediate_size", default=4 * integer(config, "hidden_size"))
    if _share_of_experts(config) == 1.0:
        return dense
    expert = integer(config, "moe_intermediate_size", default=dense)
    shared = integer(config, "n_shared_experts", default=0) * expert
    shared += integer(config, "shared_expert_intermediate_size", default=0)
    return max(dense, integer(config, "num_experts_per_tok") * expert + shared)


def _quantization(config: Config) -> str:
    found = config.get("quantization")
    if not isinstance(found, dict) or "bits" not in found:
        return ""
    return f"{found['bits']}-bit g{found.get('group_size', '?')}"


def _refuse_foreign_quantization(config: Config, architecture: str) -> None:
    foreign = config.get("quantization_config")
    if not isinstance(foreign, dict) or "quantization" in config:
        return
    method = foreign.get("quant_method", "unknown")
    if method != "fp8" or architecture != "deepseek_v3":
        raise PlanError(
            f"the weights are quantised by {method!r}, whose sizes in memory are not known",
            "convert the original model with mlx_lm.convert, or take an MLX conversion of it",
        )


def _refuse_missing(layers: Sequence[int], outer: dict[str, int]) -> None:
    missing = [f"layer {number}" for number, size in enumerate(layers) if size == 0]
    missing += [part for part, size in outer.items() if size == 0]
    if missing or not layers:
        raise PlanError(
            f"the checkpoint has no tensors of {', '.join(missing[:4]) or 'any layer'}",
            "copy the whole model folder; its weights do not belong to its config.json",
        )


def _revision(config: Config, tensors: Iterable[Tensor]) -> str:
    entries = sorted((tensor.name, tensor.dtype, *tensor.shape) for tensor in tensors)
    text = json.dumps([config, entries], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
