"""What each layer's cache keeps of a sequence, in numbers, as mlx-lm's model files store it.

`architectures` says which module reads a model; here is a rule for each that departs from keys and
values of grouped heads in every layer.
"""

from collections.abc import Mapping

from ringcore.planning import kinds, kv_rules, state
from ringcore.planning.config import Config, layer_count, text_part, words
from ringcore.planning.kept import Kept
from ringcore.planning.kinds import FULL, SLIDING, STATE
from ringcore.planning.kv_rules import HeadsOf, Rule, by_kind, every, grouped, latent, plain


def caches(name: str, config: Config) -> tuple[Kept, ...]:
    """One `Kept` a layer. ``name``: of the module in `mlx_lm.models`. Raises `PlanError` naming a key that
    the config lacks."""
    inner = text_part(config)
    name = _INNER.get(name, name)
    rule = _RULES.get(name) or every(plain if name in _PLAIN_HEADS else grouped)
    return tuple(rule(inner, layer_count(inner)))


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

_BOTH: Mapping[str, HeadsOf] = {FULL: grouped, SLIDING: grouped}
_MIXED = by_kind(kinds.named(lambda _: FULL), _BOTH)
_EVERY_FOURTH = by_kind(kinds.named(lambda number: FULL if (number + 1) % 4 == 0 else SLIDING), _BOTH)
_SHORT_CONV: Rule = by_kind(kinds.lfm2, {FULL: plain}, {STATE: state.short_convolution})

_RULES: Mapping[str, Rule] = {
    "afmoe": _MIXED,
    "baichuan_m1": kv_rules.baichuan,
    "bailing_hybrid": by_kind(kinds.groups_and_tail, {FULL: latent}, {STATE: state.linear_attention}),
    "bailing_moe_linear": by_kind(kinds.groups_and_tail, {FULL: grouped}, {STATE: state.linear_attention}),
    "bailing_moe_v3": by_kind(kinds.groups_and_tail, {FULL: latent}, {STATE: state.bailing_delta}),
    "cohere2": by_kind(kinds.every_nth("sliding_window_pattern", 4, SLIDING), _BOTH),
    "dbrx": every(kv_rules.dbrx),
    "deepseek_v2": every(kv_rules.expanded_latent),
    "deepseek_v3": every(latent),
    "deepseek_v32": kv_rules.indexed_latent,
    "exaone4": by_kind(kinds.exaone4, _BOTH),
    "exaone_moe": _MIXED,
    "falcon_h1": every(grouped, state.mamba_beside_attention),
    "gear": kv_rules.as_computed(
        by_kind(kinds.named(lambda _: FULL), _BOTH, {STATE: kv_rules.convolved_heads}),
        "attn_logit_softcapping",
    ),
    "gemma3_text": by_kind(kinds.every_nth("sliding_window_pattern", 6, SLIDING), _BOTH),
    "gemma4_text": by_kind(
        lambda config, count: (
            kinds.named(lambda _: FULL)(config, count)
            if config.get("layer_types")
            else kinds.every_nth("sliding_window_pattern", 5, SLIDING)(config, count)
        ),
        {FULL: kv_rules.gemma4_full, SLIDING: grouped},
    ),
    "glm4_moe_lite": every(latent),
    "glm_moe_dsa": kv_rules.indexed_latent,
    "gpt2": every(kv_rules.all_heads),
    "gpt_bigcode": every(kv_rules.multi_query),
    "gpt_oss": by_kind(kinds.named(lambda number: FULL if number % 2 else SLIDING), _BOTH),
    "gptj": every(kv_rules.all_heads),
    "granitemoehybrid": by_kind(
        kinds.named(lambda _: FULL), {FULL: plain}, {STATE: state.mamba_beside_attention}
    ),
    "jamba": by_kind(kinds.jamba, {FULL: plain}, {STATE: state.jamba}),
    "kimi_linear": by_kind(kinds.kimi_linear, {FULL: latent}, {STATE: state.kimi_delta}),
    "laguna": _MIXED,
    "lfm2": _SHORT_CONV,
    "lfm2_moe": _SHORT_CONV,
    "llama": _MIXED,
    "llama4": kv_rules.llama4,
    "longcat_flash": kv_rules.two_latents,
    "longcat_flash_ngram": kv_rules.ngram_latents,
    "mamba": kv_rules.state_alone(state.mamba),
    "mamba2": kv_rules.state_alone(state.mamba2),
    "mellum": _MIXED,
    "mimo_v2_flash": kv_rules.as_computed(
        by_kind(
            kinds.mimo_v2,
            {FULL: kv_rules.mimo_full, SLIDING: kv_rules.mimo_sliding},
            window=("sliding_window_size",),
        ),
        "add_full_attention_sink_bias",
    ),
    "minimax_m3_vl": kv_rules.minimax_m3,
    "minicpm3": every(kv_rules.minicpm3),
    "ministral3": _MIXED,
    "mistral4": every(latent),
    "muse_glimmer": _EVERY_FOURTH,
    "nemotron-nas": kv_rules.nemotron_nas,
    "nemotron_h": by_kind(kinds.nemotron_h, {FULL: grouped}, {STATE: state.nemotron_h}),
    "olmo3": _EVERY_FOURTH,
    "olmo_hybrid": by_kind(
        kinds.named(lambda number: FULL if (number + 1) % 4 == 0 else STATE),
        {FULL: grouped},
        {STATE: state.gated_delta},
    ),
    "openelm": kv_rules.openelm,
    "phixtral": every(kv_rules.all_heads),
    "plamo": every(kv_rules.one_of_several),
    "plamo2": by_kind(kinds.plamo2, {FULL: kv_rules.per_head}, {STATE: state.plamo2}),
    "plamo3": by_kind(
        kinds.every_nth("sliding_window_pattern", 8, SLIDING), _BOTH, window=("sliding_window", "window_size")
    ),
    "qwen": every(kv_rules.all_heads),
    "qwen3_5": by_kind(
        kinds.every_nth("full_attention_interval", 4, STATE), {FULL: grouped}, {STATE: state.gated_delta}
    ),
    "qwen3_next": by_kind(
        kinds.every_nth("full_attention_interval", 4, STATE), {FULL: grouped}, {STATE: state.gated_delta}
    ),
    "recurrent_gemma": by_kind(
        kinds.recurrent, {SLIDING: plain}, {STATE: state.recurrent}, window=("attention_window_size",)
    ),
    "rwkv7": kv_rules.state_alone(state.rwkv),
    "spark2_5": _EVERY_FOURTH,
    "step3p5": by_kind(
        kinds.named(lambda number: FULL if number % 2 else SLIDING),
        {FULL: kv_rules.step_full, SLIDING: kv_rules.step_sliding},
    ),
    "talkie": every(kv_rules.all_heads),
    "youtu_llm": every(kv_rules.expanded_latent),
}
