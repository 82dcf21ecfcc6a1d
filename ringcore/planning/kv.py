"""What each layer's cache keeps of a sequence, in numbers, as mlx-lm's model files store it.

`architectures` says which module reads a model; here is a rule for each that departs from keys and
values of grouped heads in every layer.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from ringcore.planning import kinds, state
from ringcore.planning.config import HEADS, HIDDEN, Config, integer, layer_count, listed, text_part, words
from ringcore.planning.kinds import FULL, SLIDING, STATE

CACHE_STEP = 256  # tokens by which mlx-lm's KVCache grows


class Kept(NamedTuple):
    """Numbers a layer keeps: for each token, of at most the last ``window`` tokens (0: of all), and for
    the sequence as a whole."""

    per_token: int = 0
    window: int = 0
    fixed: int = 0


Rule = Callable[[Config, int], Sequence[Kept]]


def caches(name: str, config: Config) -> tuple[Kept, ...]:
    """One `Kept` a layer. ``name``: of the module in `mlx_lm.models`. Raises `PlanError` naming a key that
    the config lacks."""
    inner = text_part(config)
    count = layer_count(inner)
    name = _INNER.get(name, name)
    rule = _RULES.get(name)
    if rule is None:
        kept: Sequence[Kept] = [Kept(_grouped(inner, own_head_dim=name not in _PLAIN_HEADS))] * count
    else:
        kept = rule(inner, count)
    return tuple(kept)


# Wrappers and the module that reads the text part inside.
_INNER = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "kimi_k25": "deepseek_v3",
    "kimi_vl": "deepseek_v3",
    "lfm2-vl": "lfm2",
    "qwen2_vl": "qwen2",
    "qwen3_5_moe": "qwen3_5",
    "qwen3_vl": "qwen3",
    "qwen3_vl_moe": "qwen3_moe",
}

# These ignore ``head_dim`` in mlx-lm.
_PLAIN_HEADS = words(
    """
    Klear apertus bailing_moe cohere deepseek granite granitemoe hunyuan internlm2 internlm3 mimo
    minicpm mixtral nanochat phi phi3 phi3small phimoe qwen2 qwen2_moe stablelm starcoder2
    """
)


def _grouped(config: Config, *, own_head_dim: bool = True, kv_heads: int | None = None) -> int:
    heads = integer(config, *HEADS)
    if kv_heads is None:
        kv_heads = integer(config, "num_key_value_heads", "n_kv_heads", default=heads)
    plain = integer(config, *HIDDEN) // max(1, heads)
    return 2 * kv_heads * (integer(config, "head_dim", default=plain) if own_head_dim else plain)


def _every(numbers: Callable[[Config], int], times: int = 1) -> Rule:
    return lambda config, count: [Kept(times * numbers(config))] * count


def _all_heads(config: Config) -> int:
    return _grouped(config, own_head_dim=False, kv_heads=integer(config, *HEADS))


def _multi_query(config: Config) -> int:
    heads = 1 if config.get("multi_query", True) else integer(config, *HEADS)
    return _grouped(config, own_head_dim=False, kv_heads=heads)


def _one_of_several(config: Config) -> int:
    shared = max(1, integer(config, "n_shared_head", default=8))
    return _grouped(config, own_head_dim=False, kv_heads=-(-integer(config, *HEADS) // shared))


def _dbrx(config: Config) -> int:
    inner: Config = config.get("attn_config") or {}
    return _grouped(config, own_head_dim=False, kv_heads=integer(inner, "kv_n_heads"))


def _expanded_latent(config: Config) -> int:
    """Keys and values are cached after expanding the latent, for every head."""
    key = integer(config, "qk_nope_head_dim", default=128) + integer(config, "qk_rope_head_dim", default=64)
    return integer(config, *HEADS) * (key + integer(config, "v_head_dim", default=128))


def _minicpm3(config: Config) -> int:
    heads = integer(config, *HEADS)
    key = integer(config, "qk_nope_head_dim") + integer(config, "qk_rope_head_dim")
    return heads * key + integer(config, *HIDDEN)


def _latent(config: Config) -> int:
    """The latent and the rotary key, once for all heads."""
    return integer(config, "kv_lora_rank", default=512) + integer(config, "qk_rope_head_dim", default=64)


def _indexed_latent(config: Config) -> int:
    return _latent(config) + 2 * integer(config, "index_head_dim", default=128)


def _ngram_latent(config: Config, count: int) -> list[Kept]:
    # The last token ids, eight bytes each, stand before the layers and are counted with the first.
    ids = 2 * (integer(config, "emb_neighbor_num", default=4) - 1)
    return [Kept(2 * _latent(config), fixed=ids if number == 0 else 0) for number in range(count)]


def _openelm(config: Config, count: int) -> list[Kept]:
    heads = listed(config, "num_kv_heads", count) or []
    return [Kept(2 * int(each) * integer(config, "head_dim")) for each in heads[:count]]


def _nemotron_nas(config: Config, count: int) -> list[Kept]:
    heads = integer(config, *HEADS)
    head = integer(config, *HIDDEN) // max(1, heads)
    kept: list[Kept] = []
    for block in (listed(config, "block_configs", count) or [])[:count]:
        group = block.get("attention", {}).get("n_heads_in_group")
        kept.append(Kept(2 * (heads // group) * head if group else 0))
    return kept


def _by_kind(
    kind_of: kinds.Kinds,
    numbers: Mapping[str, Callable[[Config], int]],
    fixed: Mapping[str, Callable[[Config], int]] | None = None,
    window: Sequence[str] = ("sliding_window",),
) -> Rule:
    """``numbers`` and ``fixed`` by a layer's kind; `SLIDING` ones see at most ``window`` tokens."""

    def rule(config: Config, count: int) -> list[Kept]:
        made: list[Kept] = []
        for kind in kind_of(config, count):
            made.append(
                Kept(
                    numbers[kind](config) if kind in numbers else 0,
                    integer(config, *window) if kind == SLIDING and kind in numbers else 0,
                    fixed[kind](config) if fixed and kind in fixed else 0,
                )
            )
        return made

    return rule


def _baichuan(config: Config, count: int) -> list[Kept]:
    sliding = config.get("sliding_window_layers") or []
    hidden = integer(config, *HIDDEN)
    kept: list[Kept] = []
    for number in range(count):
        prefix = "num_swa_" if number in sliding else "num_"
        heads = integer(config, f"{prefix}attention_heads", *HEADS)
        both = 2 * integer(config, f"{prefix}key_value_heads", "num_key_value_heads") * (hidden // heads)
        window = integer(config, "sliding_window") if number in sliding else 0
        kept.append(Kept(both, window, both))
    return kept


def _minimax_m3(config: Config, count: int) -> list[Kept]:
    nested: Config = config.get("sparse_attention_config") or {}
    index = integer({**config, **nested}, "sparse_index_dim", "index_head_dim", default=0)
    sparse = listed(nested, "sparse_attention_freq", count) or listed(config, "sparse_attention_freq", count)
    if config.get("layer_types"):
        sparse = [kind != FULL for kind in listed(config, "layer_types", count) or []]
    sparse = sparse or [True] * count
    return [Kept(_grouped(config) + (index if sparse[number] else 0)) for number in range(count)]


def _llama4(config: Config, count: int) -> list[Kept]:
    # A chunked cache grows by whole steps past its chunk.
    chunk = integer(config, "attention_chunk_size", default=8192) + CACHE_STEP
    return [Kept(_grouped(config), 0 if (number + 1) % 4 == 0 else chunk) for number in range(count)]


def _gemma4_full(config: Config) -> int:
    heads = integer(config, "num_key_value_heads")
    if config.get("attention_k_eq_v"):
        heads = integer(config, "num_global_key_value_heads", default=heads)
    return 2 * heads * integer(config, "global_head_dim", "head_dim")


def _mimo_full(config: Config) -> int:
    dims = integer(config, "head_dim") + integer(config, "v_head_dim")
    return integer(config, "num_key_value_heads") * dims


def _mimo_sliding(config: Config) -> int:
    dims = integer(config, "swa_head_dim") + integer(config, "swa_v_head_dim")
    return integer(config, "swa_num_key_value_heads") * dims


def _step_full(config: Config) -> int:
    return 2 * integer(config, "num_attention_groups") * integer(config, "head_dim")


def _step_sliding(config: Config) -> int:
    other: Config = config.get("attention_other_setting") or config
    return 2 * integer(other, "num_attention_groups") * integer(config, "head_dim")


def _plain(config: Config) -> int:
    return _grouped(config, own_head_dim=False)


def _per_head(config: Config) -> int:
    heads = integer(config, "num_key_value_heads")
    return 2 * heads * integer(config, "hidden_size_per_head", default=128)


_BOTH: Mapping[str, Callable[[Config], int]] = {FULL: _grouped, SLIDING: _grouped}
_MIXED = _by_kind(kinds.named(lambda _: FULL), _BOTH)
_EVERY_FOURTH = _by_kind(kinds.named(lambda number: FULL if (number + 1) % 4 == 0 else SLIDING), _BOTH)
_SHORT_CONV: Rule = _by_kind(kinds.lfm2, {FULL: _plain}, {STATE: state.short_convolution})

_RULES: Mapping[str, Rule] = {
    "afmoe": _MIXED,
    "baichuan_m1": _baichuan,
    "bailing_hybrid": _by_kind(kinds.groups_and_tail, {FULL: _latent}, {STATE: state.linear_attention}),
    "bailing_moe_linear": _by_kind(kinds.groups_and_tail, {FULL: _grouped}, {STATE: state.linear_attention}),
    "bailing_moe_v3": _by_kind(kinds.groups_and_tail, {FULL: _latent}, {STATE: state.bailing_delta}),
    "cohere2": _by_kind(kinds.every_nth("sliding_window_pattern", 4, SLIDING), _BOTH),
    "dbrx": _every(_dbrx),
    "deepseek_v2": _every(_expanded_latent),
    "deepseek_v3": _every(_latent),
    "deepseek_v32": _every(_indexed_latent),
    "exaone4": _by_kind(kinds.exaone4, _BOTH),
    "exaone_moe": _MIXED,
    "falcon_h1": lambda config, count: (
        [Kept(_grouped(config), fixed=state.mamba_beside_attention(config))] * count
    ),
    "gear": _by_kind(
        kinds.named(lambda _: FULL), _BOTH, {STATE: lambda config: 2 * state.short_convolution(config)}
    ),
    "gemma3_text": _by_kind(kinds.every_nth("sliding_window_pattern", 6, SLIDING), _BOTH),
    "gemma4_text": _by_kind(
        lambda config, count: (
            kinds.named(lambda _: FULL)(config, count)
            if config.get("layer_types")
            else kinds.every_nth("sliding_window_pattern", 5, SLIDING)(config, count)
        ),
        {FULL: _gemma4_full, SLIDING: _grouped},
    ),
    "glm4_moe_lite": _every(_latent),
    "glm_moe_dsa": _every(_indexed_latent),
    "gpt2": _every(_all_heads),
    "gpt_bigcode": _every(_multi_query),
    "gpt_oss": _by_kind(kinds.named(lambda number: FULL if number % 2 else SLIDING), _BOTH),
    "gptj": _every(_all_heads),
    "granitemoehybrid": _by_kind(
        kinds.named(lambda _: FULL), {FULL: _plain}, {STATE: state.mamba_beside_attention}
    ),
    "jamba": _by_kind(kinds.jamba, {FULL: _plain}, {STATE: state.jamba}),
    "kimi_linear": _by_kind(kinds.kimi_linear, {FULL: _latent}, {STATE: state.kimi_delta}),
    "laguna": _MIXED,
    "lfm2": _SHORT_CONV,
    "lfm2_moe": _SHORT_CONV,
    "llama": _MIXED,
    "llama4": _llama4,
    "longcat_flash": _every(_latent, times=2),
    "longcat_flash_ngram": _ngram_latent,
    "mamba": lambda config, count: [Kept(fixed=state.mamba(config))] * count,
    "mamba2": lambda config, count: [Kept(fixed=state.mamba2(config))] * count,
    "mellum": _MIXED,
    "mimo_v2_flash": _by_kind(
        kinds.mimo_v2, {FULL: _mimo_full, SLIDING: _mimo_sliding}, window=("sliding_window_size",)
    ),
    "minimax_m3_vl": _minimax_m3,
    "minicpm3": _every(_minicpm3),
    "ministral3": _MIXED,
    "mistral4": _every(_latent),
    "muse_glimmer": _EVERY_FOURTH,
    "nemotron-nas": _nemotron_nas,
    "nemotron_h": _by_kind(kinds.nemotron_h, {FULL: _grouped}, {STATE: state.nemotron_h}),
    "olmo3": _EVERY_FOURTH,
    "olmo_hybrid": _by_kind(
        kinds.named(lambda number: FULL if (number + 1) % 4 == 0 else STATE),
        {FULL: _grouped},
        {STATE: state.gated_delta},
    ),
    "openelm": _openelm,
    "phixtral": _every(_all_heads),
    "plamo": _every(_one_of_several),
    "plamo2": _by_kind(kinds.plamo2, {FULL: _per_head}, {STATE: state.plamo2}),
    "plamo3": _by_kind(
        kinds.every_nth("sliding_window_pattern", 8, SLIDING), _BOTH, window=("sliding_window", "window_size")
    ),
    "qwen": _every(_all_heads),
    "qwen3_5": _by_kind(
        kinds.every_nth("full_attention_interval", 4, STATE), {FULL: _grouped}, {STATE: state.gated_delta}
    ),
    "qwen3_next": _by_kind(
        kinds.every_nth("full_attention_interval", 4, STATE), {FULL: _grouped}, {STATE: state.gated_delta}
    ),
    "recurrent_gemma": _by_kind(
        kinds.recurrent, {SLIDING: _plain}, {STATE: state.recurrent}, window=("attention_window_size",)
    ),
    "rwkv7": lambda config, count: [Kept(fixed=state.rwkv(config))] * count,
    "spark2_5": _EVERY_FOURTH,
    "step3p5": _by_kind(
        kinds.named(lambda number: FULL if number % 2 else SLIDING),
        {FULL: _step_full, SLIDING: _step_sliding},
    ),
    "talkie": _every(_all_heads),
    "youtu_llm": _every(_expanded_latent),
}
