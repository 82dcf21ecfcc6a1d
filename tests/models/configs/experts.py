"""Layers of experts, some behind dense ones."""

from typing import Any

from tests.models.configs.common import (
    ATTENTION,
    EXPERTS,
    HEAD_DIM,
    HIDDEN,
    LAYERS,
    ROUTED,
    TIED,
    UNTIED,
    VOCABULARY,
)

_SPARSE: dict[str, Any] = {"decoder_sparse_step": 1, "mlp_only_layers": [1], "norm_topk_prob": True}
_GRANITE: dict[str, Any] = {
    "logits_scaling": 0.5,
    "attention_multiplier": 0.2,
    "embedding_multiplier": 3.0,
    "residual_multiplier": 0.7,
    "attention_bias": False,
}

CONFIGS: dict[str, dict[str, Any]] = {
    "mixtral": {**ATTENTION, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": {**ATTENTION, **EXPERTS, "shared_expert_intermediate_size": 64},
    "qwen3_moe": {**ATTENTION, **HEAD_DIM, **EXPERTS, **_SPARSE, **UNTIED},
    "Klear": {**ATTENTION, **EXPERTS, **_SPARSE, "attention_bias": False, "n_shared_experts": 1},
    "bailing_moe": {
        **ATTENTION,
        **EXPERTS,
        **UNTIED,
        "num_shared_experts": 1,
        "norm_topk_prob": True,
        "first_k_dense_replace": 2,
        "topk_group": 1,
    },
    "dbrx": {
        "vocab_size": VOCABULARY,
        "d_model": HIDDEN,
        "n_layers": LAYERS,
        "n_heads": 4,
        "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
    },
    "deepseek": {**ATTENTION, **ROUTED},
    "dots1": {**ATTENTION, **ROUTED, **UNTIED, "scoring_func": "noaux_tc"},
    "ernie4_5_moe": {
        **ATTENTION,
        **TIED,
        "use_bias": False,
        "moe_num_experts": 4,
        "moe_layer_start_index": 1,
        "moe_intermediate_size": 32,
        "moe_k": 2,
        "moe_num_shared_experts": 1,
    },
    "glm4_moe": {
        **ATTENTION,
        **HEAD_DIM,
        **ROUTED,
        **UNTIED,
        "rope_scaling": None,
        "use_qk_norm": True,
        "attention_bias": False,
        "partial_rotary_factor": 0.5,
    },
    "granitemoe": {**ATTENTION, **_GRANITE, **TIED, "num_local_experts": 4, "num_experts_per_tok": 2},
    "hunyuan": {
        **ATTENTION,
        "attention_bias": False,
        "moe_topk": 2,
        "num_experts": 4,
        "num_shared_expert": 1,
        "use_mixed_mlp_moe": True,
        "use_qk_norm": True,
        "rope_scaling": {"alpha": 1000.0, "factor": 1.0, "type": "dynamic"},
        "use_cla": False,
        "cla_share_factor": 2,
    },
    "minimax": {
        **ATTENTION,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "shared_intermediate_size": 0,
        "rotary_dim": 8,
    },
    "olmoe": {**ATTENTION, **UNTIED, "num_experts": 4, "num_experts_per_tok": 2},
    "phimoe": {
        **ATTENTION,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "rope_scaling": {
            "long_factor": [1.0] * 8,
            "short_factor": [1.0] * 8,
            "long_mscale": 1.1,
            "short_mscale": 1.1,
            "type": "longrope",
        },
    },
    "phixtral": {
        "num_vocab": VOCABULARY,
        "model_dim": HIDDEN,
        "num_heads": 4,
        "num_layers": LAYERS,
        "rotary_dim": 8,
        "num_experts_per_tok": 2,
        "num_local_experts": 4,
    },
    "solar_open": {**ATTENTION, **HEAD_DIM, **ROUTED, **UNTIED, "partial_rotary_factor": 1.0},
}
