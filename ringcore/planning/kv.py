"""Bytes that a sequence's cache takes for each token and layer, as mlx-lm's model files store them.

`SAME_AS` and the keys of `_ELEMENTS` name the architectures whose caches are known here.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ringcore.spec.errors import PlanError

Config = Mapping[str, Any]

# `model_type`s that mlx-lm reads with another architecture's module (its MODEL_REMAPPING).
SAME_AS = {
    "mistral": "llama",
    "xverse": "llama",
    "iquestcoder": "llama",
    "kimi_k2": "deepseek_v3",
    "joyai_llm_flash": "deepseek_v3",
}
CACHE_STEP = 256  # tokens by which mlx-lm's KVCache grows


def family(config: Config) -> str:
    """The mlx-lm module that reads this model. Raises `PlanError` when its caches are not known."""
    model_type = config.get("model_type")
    name = SAME_AS.get(str(model_type), str(model_type))
    if name not in _ELEMENTS:
        raise PlanError(
            f"the architecture {model_type!r} cannot be cut into stages",
            f"take a model of one of these: {', '.join(sorted(_ELEMENTS))}",
        )
    return name


def kv_elements(config: Config) -> int:
    """Numbers that one layer's cache holds for one token of one sequence."""
    return _ELEMENTS[family(config)](config)


def integer(config: Config, *keys: str, default: int | None = None) -> int:
    """The first of ``keys`` that the config has. Raises `PlanError` when none, or it is no count."""
    for key in keys:
        value = config.get(key)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise PlanError(f"config.json: {key} is {value!r}, not a count", "copy config.json again")
            return value
    if default is None:
        raise PlanError(
            f"config.json has no {' or '.join(keys)}", "copy the original config.json next to the weights"
        )
    return default


def _grouped(config: Config) -> int:
    heads = integer(config, "num_attention_heads")
    kv_heads = integer(config, "num_key_value_heads", default=heads)
    return 2 * kv_heads * _head_dim(config, heads)


def _head_dim(config: Config, heads: int) -> int:
    # qwen2, qwen2_moe and mixtral ignore `head_dim` in mlx-lm.
    ignores = family(config) in ("qwen2", "qwen2_moe", "mixtral")
    plain = integer(config, "hidden_size") // max(1, heads)
    return plain if ignores else integer(config, "head_dim", default=plain)


def _expanded_latent(config: Config) -> int:
    """deepseek_v2 in mlx-lm caches keys and values after expanding the latent, for every head."""
    key = integer(config, "qk_nope_head_dim", default=128) + integer(config, "qk_rope_head_dim", default=64)
    return integer(config, "num_attention_heads") * (key + integer(config, "v_head_dim", default=128))


def _latent(config: Config) -> int:
    """deepseek_v3 caches the latent and the rotary key, once for all heads."""
    return integer(config, "kv_lora_rank", default=512) + integer(config, "qk_rope_head_dim", default=64)


_ELEMENTS: dict[str, Callable[[Config], int]] = {
    "deepseek_v2": _expanded_latent,
    "deepseek_v3": _latent,
    "llama": _grouped,
    "mixtral": _grouped,
    "qwen2": _grouped,
    "qwen2_moe": _grouped,
    "qwen3": _grouped,
    "qwen3_moe": _grouped,
}
ARCHITECTURES = tuple(_ELEMENTS)
