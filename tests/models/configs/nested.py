"""Models whose text part is one of several, with its configuration inside."""

from typing import Any

from tests.models.configs import dense, experts, latent, sliding, state
from tests.models.configs.common import ATTENTION, EXPERTS, HEAD_DIM, TIED, UNTIED


def _text(model_type: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"text_config": {"model_type": model_type, **config}}


_QWEN35: dict[str, Any] = {
    **state.CONFIGS["qwen3_next"],
    "rope_parameters": {
        "rope_theta": 10000.0,
        "partial_rotary_factor": 0.5,
        "type": "default",
        "mrope_section": [3, 3, 2],
    },
}

CONFIGS: dict[str, dict[str, Any]] = {
    "gemma3": {**_text("gemma3_text", sliding.CONFIGS["gemma3_text"]), "vocab_size": 200},
    "gemma4": {**_text("gemma4_text", sliding.CONFIGS["gemma4_text"]), "vocab_size": 200},
    "kimi_k25": _text("kimi_k2", latent.CONFIGS["deepseek_v3"]),
    "kimi_vl": _text("deepseek_v3", latent.CONFIGS["deepseek_v3"]),
    "lfm2-vl": _text("lfm2", state.CONFIGS["lfm2"]),
    "llama4": _text(
        "llama4_text",
        {
            **ATTENTION,
            **HEAD_DIM,
            "attention_bias": False,
            "attention_chunk_size": 8,
            "attn_scale": 0.1,
            "attn_temperature_tuning": 4,
            "floor_scale": 8,
            "hidden_act": "silu",
            "interleave_moe_layer_step": 2,
            "intermediate_size_mlp": 128,
            "num_experts_per_tok": 1,
            "num_local_experts": 4,
            "rope_scaling": None,
            "use_qk_norm": True,
        },
    ),
    "minimax_m3_vl": _text(
        "minimax_m3",
        {
            **ATTENTION,
            **HEAD_DIM,
            "dense_intermediate_size": 128,
            "intermediate_size": 32,
            "shared_intermediate_size": 32,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "moe_layer_freq": [0, 1, 1, 1, 1],
            "layer_types": [
                "full_attention",
                "sparse_attention",
                "sparse_attention",
                "full_attention",
                "sparse_attention",
            ],
            "index_n_heads": 2,
            "index_head_dim": 32,
            "index_block_size": 4,
            "index_topk_blocks": 2,
        },
    ),
    "mistral3": _text("ministral3", sliding.CONFIGS["ministral3"]),
    "pixtral": _text("llama", dense.CONFIGS["llama"]),
    "qwen2_vl": _text("qwen2", dense.CONFIGS["qwen2"]),
    "qwen3_5": _text("qwen3_5", {**_QWEN35, "num_experts": 0, **UNTIED}),
    "qwen3_5_moe": _text("qwen3_5_moe", _QWEN35),
    "qwen3_vl": _text("qwen3", {**dense.CONFIGS["qwen3"], **TIED}),
    "qwen3_vl_moe": _text("qwen3_moe", {**experts.CONFIGS["qwen3_moe"], **EXPERTS}),
}
