"""Which architectures of mlx-lm can be cut into stages: a table, read where mlx is not installed.

Names are those of the modules in `mlx_lm.models`. How each is cut is said in `ringcore.models.registry`,
what its caches take in `kv`.
"""

from collections.abc import Callable, Mapping
from typing import Literal

from msgspec import Struct

from ringcore.planning.config import Config, integer, text_part, words
from ringcore.spec.errors import PlanError

Status = Literal["verified", "refused", "unknown"]


class Architecture(Struct, frozen=True):
    """``reason``: why it is refused, or why nobody could verify it; "" for verified ones."""

    name: str
    status: Status
    reason: str = ""


# Two and three stages answer token for token as mlx-lm does in one process, and cards tell what stages hold.
VERIFIED: tuple[str, ...] = words(
    """
    Klear afmoe apertus baichuan_m1 bailing_hybrid bailing_moe bailing_moe_linear bailing_moe_v3 cohere
    cohere2 dbrx deepseek deepseek_v2 deepseek_v3 deepseek_v32 dots1 ernie4_5 ernie4_5_moe exaone
    exaone4 exaone_moe falcon_h1 gear gemma gemma2 gemma3 gemma3_text gemma4 gemma4_text glm glm4
    glm4_moe glm4_moe_lite glm_moe_dsa gpt2 gpt_bigcode gpt_neox gpt_oss gptj granite granitemoe
    granitemoehybrid helium hunyuan hunyuan_v1_dense internlm2 internlm3 jamba kimi_k25 kimi_linear
    kimi_vl laguna lfm2 lfm2-vl lfm2_moe lille-130m llama llama4 llama4_text longcat_flash
    longcat_flash_ngram mamba mamba2 mellum mimo mimo_v2_flash minicpm minicpm3 minimax minimax_m3_vl
    ministral3 mistral3 mistral4 mixtral muse_glimmer nanbeige nanochat nemotron nemotron-nas nemotron_h
    olmo2 olmo3 olmo_hybrid olmoe openelm phi phi3 phi3small phimoe phixtral pixtral plamo plamo2 plamo3 qwen
    qwen2 qwen2_moe qwen2_vl qwen3 qwen3_5 qwen3_5_moe qwen3_moe qwen3_next qwen3_vl qwen3_vl_moe
    recurrent_gemma rwkv7 seed_oss smollm3 solar_open spark2_5 stablelm starcoder2 step3p5 telechat3
    youtu_llm
    """
)

REFUSED: Mapping[str, str] = {
    "afm7": "its last layers all read the keys and values of one layer before them",
    "deepseek_v41": "its layers share indices and compressed keys with layers far behind them",
    "gemma3n": "every layer reads its own embedding of the tokens, and later layers the keys of earlier ones",
    "iquestloopcoder": "it runs through all its layers twice",
    "kimi_k3": "its layers read the outputs of all blocks of layers before them",
    "muse_spark": "each layer also makes the attention input of the next",
    "olmo": "mlx-lm needs the package ai2-olmo to read it",
    "talkie": "every layer reads the embedding besides the hidden states",
}

UNKNOWN: Mapping[str, str] = {
    "bitnet": "its kernels need Metal; it was never run in stages",
    "prism_hadamard_qwen35": "it was never run in stages",
}

# `model_type`s that mlx-lm reads with another architecture's module (its MODEL_REMAPPING).
SAME_AS: Mapping[str, str] = {
    "deepseek_v41_text": "deepseek_v41",
    "falcon_mamba": "mamba",
    "gemma4_unified": "gemma4",
    "iquestcoder": "llama",
    "joyai_llm_flash": "deepseek_v3",
    "kimi_k2": "deepseek_v3",
    "llava": "mistral3",
    "minimax_m2": "minimax",
    "mistral": "llama",
    "phi-msft": "phixtral",
    "qwen2_5_vl": "qwen2_vl",
    "xverse": "llama",
}
# The same, told by the class in ``architectures`` (its MODEL_ARCHITECTURE_REMAPPING).
SAME_BY_CLASS: Mapping[tuple[str, str], str] = {
    ("bailing_hybrid", "BailingMoeV3ForCausalLM"): "bailing_moe_v3",
}

_TAKE_ANOTHER = "take a model of another architecture; `mlxring models` lists them"


def table() -> tuple[Architecture, ...]:
    """All architectures, by name."""
    rows = [Architecture(name, "verified") for name in VERIFIED]
    rows += [Architecture(name, "refused", reason) for name, reason in REFUSED.items()]
    rows += [Architecture(name, "unknown", reason) for name, reason in UNKNOWN.items()]
    return tuple(sorted(rows, key=lambda row: row.name.lower()))


def module_of(config: Config) -> str:
    """The name of the module of mlx-lm that reads a model of this ``config.json``."""
    model_type = str(config.get("model_type", ""))
    classes = config.get("architectures")
    for each in classes if isinstance(classes, list) else ():
        if (model_type, str(each)) in SAME_BY_CLASS:
            return SAME_BY_CLASS[model_type, str(each)]
    return SAME_AS.get(model_type, model_type)


def check(config: Config, *, allow_unverified: bool = False) -> str:
    """`module_of` the config, when its model may be cut into stages.

    Raises `PlanError` when the architecture, or what this model makes of it, is refused; or nobody
    verified it and ``allow_unverified`` is False.
    """
    name = module_of(config)
    model_type = config.get("model_type")
    if name in REFUSED:
        raise PlanError(
            f"the architecture {model_type!r} cannot be cut into stages: {REFUSED[name]}", _TAKE_ANOTHER
        )
    if name not in VERIFIED and not allow_unverified:
        raise PlanError(
            f"nobody verified that the architecture {model_type!r} can be cut into stages",
            "write allow_unverified = true under [ring] to try it and compare its answers, or "
            f"take a model of one of these: {', '.join(sorted(VERIFIED))}",
        )
    reason = _EXCEPTIONS[name](text_part(config)) if name in _EXCEPTIONS else ""
    if reason:
        raise PlanError(f"this {model_type} model cannot be cut into stages: {reason}", _TAKE_ANOTHER)
    return name


def _gemma4(config: Config) -> str:
    if integer(config, "hidden_size_per_layer_input", default=256):
        return "every layer reads its own embedding of the tokens"
    if integer(config, "num_kv_shared_layers", default=20):
        return "later layers read the keys and values of earlier ones"
    return ""


def _hunyuan(config: Config) -> str:
    return "neighbouring layers share keys and values" if config.get("use_cla") else ""


def _nanbeige(config: Config) -> str:
    more = integer(config, "num_loops", default=1) > 1
    return "it runs through all its layers more than once" if more else ""


def _helium(config: Config) -> str:
    return "mlx-lm makes it a head that it does not use" if config.get("tie_word_embeddings") else ""


# Verified architectures of which some models cannot be cut: the reason, or "".
_EXCEPTIONS: Mapping[str, Callable[[Config], str]] = {
    "gemma4": _gemma4,
    "gemma4_text": _gemma4,
    "helium": _helium,
    "hunyuan": _hunyuan,
    "nanbeige": _nanbeige,
}
