"""Reading a model's ``config.json``: the text part of it, and counts under the names that models use."""

from collections.abc import Mapping
from typing import Any

from ringcore.spec.errors import PlanError

Config = Mapping[str, Any]


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_transformer_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model", "model_dim")
VOCABULARY = ("vocab_size", "num_vocab")
HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
CHOSEN_EXPERTS = (
    "num_experts_per_tok",
    "num_experts_per_token",
    "moe_topk",
    "moe_top_k",
    "moe_k",
    "top_k_experts",
)


def text_part(config: Config) -> dict[str, Any]:
    """The config of the language model, with what only the outer one says; ``model_type`` is the outer."""
    inner = config.get("text_config")
    if not isinstance(inner, dict):
        return dict(config)
    said = {key: value for key, value in inner.items() if value is not None}
    return {**config, **said, "model_type": config.get("model_type")}


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


def listed(config: Config, key: str, count: int) -> list[Any] | None:
    """A list with an entry for each layer, or None. Raises `PlanError` when it is none of that length."""
    value = config.get(key)
    if value is None:
        return None
    if not isinstance(value, list | tuple | str) or len(value) < count:
        raise PlanError(
            f"config.json: {key} does not name each of the {count} layers", "copy config.json again"
        )
    return list(value)


def layer_count(config: Config) -> int:
    """Of a config's `text_part`."""
    for key in ("hybrid_override_pattern", "layers_block_type"):
        value = config.get(key)
        if value is not None and not any(name in config for name in LAYERS):
            return len(value)
    return integer(config, *LAYERS)
