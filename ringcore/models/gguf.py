"""A GGUF file of the llama family as MLX weights and the ``config.json`` that mlx-lm reads them by.

Owns the names and the row order of tensors and the quantisation table; knows nothing of the
tokenizer (`gguf_tokenizer`) or of files to write (`convert`). GGUF keys are described in
https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

# pyright: reportUnknownMemberType=false

from pathlib import Path
from typing import Any

import mlx.core as mx
from msgspec import Struct

from ringcore.spec.errors import PlanError

GROUP = 32  # weights that share a scale in Q4_0, Q4_1 and Q8_0

Metadata = dict[str, Any]

_OUTSIDE = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
}
_IN_LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


class Checkpoint(Struct, frozen=True):
    """What one GGUF file holds, under the names of mlx-lm. Floats are float16."""

    weights: dict[str, mx.array]
    config: dict[str, Any]
    metadata: Metadata


def read_gguf(path: Path) -> Checkpoint:
    """Raises `PlanError` when the file is no GGUF, or not of a kind that is understood."""
    if not path.is_file():
        raise PlanError(f"there is no file {path}", "give the path of a GGUF file")
    try:
        loaded: Any = mx.load(str(path), format="gguf", return_metadata=True)
    except (RuntimeError, ValueError) as error:
        raise PlanError(
            f"{path.name} cannot be read as GGUF: {error}",
            "use a complete file in F32, F16, Q4_0, Q4_1 or Q8_0",
        ) from error
    tensors: dict[str, mx.array] = loaded[0]
    raw: Metadata = loaded[1]
    metadata = {key: _plain(value) for key, value in raw.items()}
    architecture = metadata.get("general.architecture")
    if architecture != "llama":
        raise PlanError(
            f"{path.name} is of architecture {architecture!r}; only 'llama' can be converted",
            "take the model's safetensors instead",
        )
    scaling = metadata.get("llama.rope.scaling.type", "none")
    if scaling != "none" or "rope_freqs.weight" in tensors:
        raise PlanError(
            f"{path.name} scales its rotary frequencies, which is not converted",
            "take the model's safetensors instead",
        )
    heads = int(metadata["llama.attention.head_count"])
    kv_heads = int(metadata.get("llama.attention.head_count_kv", heads))
    weights = {_name(name): _tensor(name, value, heads, kv_heads) for name, value in tensors.items()}
    return Checkpoint(weights, _config(metadata, weights, heads, kv_heads), metadata)


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, mx.array) else value


def _name(name: str) -> str:
    """``blk.3.attn_q.scales`` -> ``model.layers.3.self_attn.q_proj.scales``."""
    module, _, kind = name.rpartition(".")
    if module in _OUTSIDE:
        return f"{_OUTSIDE[module]}.{kind}"
    parts = module.split(".")
    if len(parts) == 3 and parts[0] == "blk" and parts[2] in _IN_LAYER:
        return f"model.layers.{int(parts[1])}.{_IN_LAYER[parts[2]]}.{kind}"
    raise PlanError(f"tensor {name!r} has no place in a llama model", "take the model's safetensors instead")


def _tensor(name: str, value: mx.array, heads: int, kv_heads: int) -> mx.array:
    # llama.cpp's converter interleaves the two rotary halves of every head's rows of q and k; mlx-lm
    # wants the halves one after the other. Rows are whole under quantisation, so packed weights,
    # scales and biases move alike.
    if ".attn_q." in name:
        value = _halves(value, heads)
    elif ".attn_k." in name:
        value = _halves(value, kv_heads)
    if value.dtype in (mx.float32, mx.bfloat16):
        value = value.astype(mx.float16)
        if not bool(mx.isfinite(value).all()):
            raise PlanError(f"tensor {name!r} does not fit float16", "take the model's safetensors instead")
    return value


def _halves(value: mx.array, heads: int) -> mx.array:
    """Rows (heads, D/2, 2) -> (heads, 2, D/2), everything after the rows as it is."""
    rows, rest = value.shape[0], value.shape[1:]
    split = value.reshape(heads, rows // heads // 2, 2, *rest)
    return split.swapaxes(1, 2).reshape(rows, *rest)


def _config(metadata: Metadata, weights: dict[str, mx.array], heads: int, kv_heads: int) -> dict[str, Any]:
    def number(key: str) -> int:
        return int(metadata[f"llama.{key}"])

    hidden = number("embedding_length")
    config: dict[str, Any] = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "num_hidden_layers": number("block_count"),
        "intermediate_size": number("feed_forward_length"),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": int(metadata.get("llama.rope.dimension_count", hidden // heads)),
        "max_position_embeddings": number("context_length"),
        "rms_norm_eps": _short(metadata["llama.attention.layer_norm_rms_epsilon"]),
        "rope_theta": _short(metadata.get("llama.rope.freq_base", 10000.0)),
        "rope_traditional": False,
        "vocab_size": weights["model.embed_tokens.weight"].shape[0],
        "tie_word_embeddings": "lm_head.weight" not in weights,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "torch_dtype": "float16",
    }
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
        if (token := metadata.get(f"tokenizer.ggml.{theirs}_token_id")) is not None:
            config[f"{ours}_token_id"] = int(token)
    if quantization := _quantization(weights):
        # mlx-lm writes it under both names and reads either.
        config["quantization"] = config["quantization_config"] = quantization
    return config


def _short(value: float) -> float:
    """The decimal that was meant by a float32: 9.99999974e-06 -> 1e-05."""
    return float(f"{value:.6g}")


def _quantization(weights: dict[str, mx.array]) -> dict[str, Any]:
    """The commonest width for the whole model and every other module by name, as mlx-lm writes it."""
    bits: dict[str, int] = {}
    for name, scales in weights.items():
        module, _, kind = name.rpartition(".")
        if kind == "scales":
            bits[module] = weights[f"{module}.weight"].shape[-1] * 32 // (scales.shape[-1] * GROUP)
    if not bits:
        return {}
    widths = list(bits.values())
    usual = max(set(widths), key=widths.count)
    table: dict[str, Any] = {"group_size": GROUP, "bits": usual, "mode": "affine"}
    for module, width in bits.items():
        if width != usual:
            table[module] = {"group_size": GROUP, "bits": width, "mode": "affine"}
    return table
