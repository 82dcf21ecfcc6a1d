"""A model's card from its ``config.json`` and its tensors' names, dtypes and shapes. Pure.

What each tensor weighs once loaded follows mlx-lm's loading: floating tensors in the ring's dtype
(scales and biases of quantised ones too), packed ones as stored, tied heads, towers for pictures and
sound, and layers past the last one (multi-token prediction) dropped, 8-bit floats of DeepSeek-V3 unpacked.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from math import prod

from ringcore.checkpoint.survey import Tensor
from ringcore.planning import architectures
from ringcore.planning.bits import four_bit_bytes
from ringcore.planning.config import (
    CHOSEN_EXPERTS,
    EXPERTS,
    HEADS,
    HIDDEN,
    VOCABULARY,
    Config,
    integer,
    layer_count,
    text_part,
)
from ringcore.planning.kept import ITEM_BYTES
from ringcore.planning.kv import caches
from ringcore.planning.parts import is_expert, part_of
from ringcore.planning.tied import has_tied_head
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError

DTYPES = ("stored", *ITEM_BYTES)
_FLOATING = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float32"}
_F8 = ("F8_E4M3", "F8_E5M2")
_KEEPS_DTYPE = "e_score_correction_bias"  # mlx-lm's cast_predicate of deepseek_v3
_DROPPED = ("rotary_emb.inv_freq", "weight_scale_inv")
_STATE_BYTES = 4  # mlx-lm keeps most states in float32 whatever the weights are
_WIDTHS = ("intermediate_size", "ffn_hidden_size", "ff_intermediate_size", "n_inner")
_EXPERT_WIDTHS = ("moe_intermediate_size", "expert_ffn_hidden_size")
_MAX_CONTEXT = ("max_position_embeddings", "n_positions", "model_max_length", "block_size")


def make_card(
    name: str, config: Config, tensors: Sequence[Tensor], dtype: str, *, allow_unverified: bool = False
) -> ModelCard:
    """``dtype`` is what the ranks will cast to, or ``stored`` for the commonest one of the checkpoint.

    Raises `PlanError` when the architecture is refused or (without ``allow_unverified``) unverified, or
    config and tensors do not make one model.
    """
    architecture = architectures.check(config, allow_unverified=allow_unverified)
    _refuse_foreign_quantization(config, architecture)
    text = text_part(config)
    kept = caches(architecture, config)
    count = layer_count(text)
    dtype = _stored_dtype(tensors) if dtype == "stored" else dtype
    layers = [0] * count
    read = [0.0] * count
    four_bit = [0] * count
    outer = {"embedding": 0, "positions": 0, "head": 0, "norm": 0}
    outer_four_bit = dict(outer)
    chosen = _share_of_experts(text)
    for tensor in tensors:
        size = _loaded_bytes(tensor, dtype)
        lighter = four_bit_bytes(tensor, size, config, ITEM_BYTES[dtype])
        part = part_of(tensor.name)
        if isinstance(part, str):
            outer[part] += size
            outer_four_bit[part] += lighter
        elif part is not None and part < count:
            layers[part] += size
            four_bit[part] += lighter
            read[part] += size * (chosen if is_expert(tensor.name) else 1)
    tied = has_tied_head(architecture, text, has_head=outer["head"] > 0)
    for each in (outer, outer_four_bit):
        each["head"] = each["embedding"] if tied else each["head"]
    _refuse_missing(layers, outer)
    return ModelCard(
        name=name,
        architecture=str(config["model_type"]),
        layers=tuple(
            LayerCard(
                weight_bytes=size,
                kv_bytes_per_token=cache.per_token * ITEM_BYTES[dtype],
                state_bytes_per_sequence=cache.fixed * _STATE_BYTES,
                read_bytes_per_token=round(reads),
                kv_window=cache.window,
                kv_head=cache.head,
                four_bit_bytes=lighter,
            )
            for size, reads, lighter, cache in zip(layers, read, four_bit, kept, strict=True)
        ),
        hidden_size=integer(text, *HIDDEN),
        vocab_size=integer(text, *VOCABULARY),
        embedding_bytes=outer["embedding"] + outer["positions"],
        norm_bytes=outer["norm"],
        head_bytes=outer["head"],
        tied=tied,
        dtype=dtype,
        quantization=_quantization(config),
        attention_heads=_attention_heads(text, attends=any(cache.per_token for cache in kept)),
        mlp_width=_mlp_width(text),
        max_context=integer(text, *_MAX_CONTEXT, default=0),
        four_bit_embedding_bytes=outer_four_bit["embedding"] + outer["positions"],
        four_bit_head_bytes=outer_four_bit["head"],
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


def _attention_heads(config: Config, *, attends: bool) -> int:
    heads = config.get("num_query_heads")
    if isinstance(heads, list) and heads:
        return max(int(each) for each in heads)
    return integer(config, *HEADS, default=None if attends else 0)


def _share_of_experts(config: Config) -> float:
    inner = config.get("ffn_config")
    config = inner if isinstance(inner, dict) else config
    experts = integer(config, *EXPERTS, default=0)
    chosen = _chosen(config, default=experts)
    return min(1.0, chosen / experts) if experts else 1.0


def _chosen(config: Config, default: int) -> int:
    for key in CHOSEN_EXPERTS:
        if isinstance(config.get(key), list):  # one for each layer
            return max((int(each) for each in config[key]), default=default)
    return integer(config, *CHOSEN_EXPERTS, default=default)


def _mlp_width(config: Config) -> int:
    wide = config.get("intermediate_size")
    dense = (
        max(int(each) for each in wide)
        if isinstance(wide, list) and wide
        else integer(config, *_WIDTHS, default=4 * integer(config, *HIDDEN))
    )
    if _share_of_experts(config) == 1.0:
        return dense
    wide = config.get("moe_intermediate_size")
    if isinstance(wide, list) and wide:
        config = {**config, "moe_intermediate_size": max(int(each) for each in wide)}
    expert = integer(config, *_EXPERT_WIDTHS, default=dense)
    shared = integer(config, "n_shared_experts", "num_shared_experts", default=0) * expert
    shared += integer(config, "shared_expert_intermediate_size", default=0)
    return max(dense, _chosen(config, default=1) * expert + shared)


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
    # Some norms have no weights, or are in the head.
    missing += [part for part in ("embedding", "head") if outer[part] == 0]
    if missing or not layers:
        raise PlanError(
            f"the checkpoint has no tensors of {', '.join(missing[:4]) or 'any layer'}",
            "copy the whole model folder; its weights do not belong to its config.json",
        )


def _revision(config: Config, tensors: Iterable[Tensor]) -> str:
    entries = sorted((tensor.name, tensor.dtype, *tensor.shape) for tensor in tensors)
    text = json.dumps([config, entries], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
