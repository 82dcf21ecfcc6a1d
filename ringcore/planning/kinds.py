"""Which kind of layer each layer of a model is, from its config, as mlx-lm's model files decide it.

A function takes the text part of the config and the number of layers and returns a kind for each.
"""

from collections.abc import Callable

from ringcore.planning.config import Config, integer, listed
from ringcore.spec.errors import PlanError

Kinds = Callable[[Config, int], list[str]]
FULL, SLIDING, STATE, NOTHING = "full_attention", "sliding_attention", "state", "nothing"


def named(default: Callable[[int], str], key: str = "layer_types") -> Kinds:
    """Kinds by the config's list; anything that is no attention is a state."""
    known = {FULL: FULL, "attention": FULL, SLIDING: SLIDING}

    def kinds(config: Config, count: int) -> list[str]:
        said = listed(config, key, count)
        if said is None:
            return [default(number) for number in range(count)]
        return [known.get(str(each), STATE) for each in said[:count]]

    return kinds


def every_nth(key: str, default: int, others: str) -> Kinds:
    def kinds(config: Config, count: int) -> list[str]:
        n = max(1, integer(config, key, default=default))
        return [FULL if number % n == n - 1 else others for number in range(count)]

    return kinds


def exaone4(config: Config, count: int) -> list[str]:
    pattern = config.get("sliding_window_pattern")
    if not isinstance(pattern, str) or not pattern:
        return [FULL] * count
    return [SLIDING if pattern[number % len(pattern)] == "L" else FULL for number in range(count)]


def mimo_v2(config: Config, count: int) -> list[str]:
    return [SLIDING if each == 1 else FULL for each in listed(config, "hybrid_layer_pattern", count) or []]


def groups_and_tail(config: Config, count: int) -> list[str]:
    group = max(1, integer(config, "layer_group_size", default=4))
    tail = count // group * group
    return [FULL if (number + 1) % group == 0 or number >= tail else STATE for number in range(count)]


def jamba(config: Config, count: int) -> list[str]:
    said = listed(config, "layers_block_type", count)
    if said is not None:
        return [FULL if each == "attention" else STATE for each in said[:count]]
    period, first = integer(config, "attn_layer_period"), integer(config, "attn_layer_offset")
    return [FULL if number % max(1, period) == first else STATE for number in range(count)]


def nemotron_h(config: Config, count: int) -> list[str]:
    letters = {"M": STATE, "*": FULL, "mamba": STATE, "attention": FULL}
    key = next((k for k in ("hybrid_override_pattern", "layers_block_type") if config.get(k)), "layer_types")
    return [letters.get(str(each), NOTHING) for each in listed(config, key, count) or []]


def kimi_linear(config: Config, count: int) -> list[str]:
    inner: Config = config.get("linear_attn_config") or {}
    linear = inner.get("kda_layers") or []
    return [STATE if number + 1 in linear else FULL for number in range(count)]


def lfm2(config: Config, count: int) -> list[str]:
    full = config.get("full_attn_idxs")
    if isinstance(full, list):
        return [FULL if number in full else STATE for number in range(count)]
    return named(lambda _: FULL)(config, count)


def plamo2(config: Config, count: int) -> list[str]:
    if not config.get("mamba_enabled", True):
        return [FULL] * count
    step = max(1, integer(config, "mamba_step", default=2))
    if count <= step // 2:
        return [FULL if number == count - 1 else STATE for number in range(count)]
    return [FULL if number % step == step // 2 else STATE for number in range(count)]


def recurrent(config: Config, count: int) -> list[str]:
    pattern = config.get("block_types") or config.get("_block_types")
    if not isinstance(pattern, list) or not pattern:
        raise PlanError("config.json has no block_types", "copy the original config.json next to the weights")
    return [SLIDING if pattern[n % len(pattern)] == "attention" else STATE for n in range(count)]
