"""Multi-head latent attention, and attention that looks its keys up by an index."""

from typing import Any

from tests.models.configs.common import ATTENTION, HIDDEN, LATENT, LAYERS, ROUTED, TIED, UNTIED, VOCABULARY

_YARN: dict[str, Any] = {
    "type": "yarn",
    "factor": 4.0,
    "original_max_position_embeddings": 256,
    "mscale": 0.7,
    "mscale_all_dim": 0.7,
}
_DEEPSEEK: dict[str, Any] = {**ATTENTION, **LATENT, **ROUTED, "num_key_value_heads": 4}
_INDEX: dict[str, Any] = {"index_head_dim": 32, "index_n_heads": 2, "index_topk": 16}
_LONGCAT: dict[str, Any] = {
    **LATENT,
    "hidden_size": HIDDEN,
    "ffn_hidden_size": 128,
    "moe_topk": 2,
    "expert_ffn_hidden_size": 32,
    "n_routed_experts": 4,
    "zero_expert_num": 2,
    "zero_expert_type": "identity",
    "num_layers": LAYERS,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 1024,
    "num_attention_heads": 4,
    "routed_scaling_factor": 1.5,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "mla_scale_q_lora": True,
    "mla_scale_kv_lora": True,
    "attention_bias": False,
    "attention_method": "MLA",
}

CONFIGS: dict[str, dict[str, Any]] = {
    "deepseek_v2": {
        **_DEEPSEEK,
        "q_lora_rank": None,
        "n_group": None,
        "topk_group": None,
        "routed_scaling_factor": 1.0,
        "topk_method": "greedy",
        "rope_scaling": _YARN,
    },
    "deepseek_v3": {**_DEEPSEEK},
    "deepseek_v32": {**_DEEPSEEK, **_INDEX},
    "glm4_moe_lite": {**_DEEPSEEK},
    "glm_moe_dsa": {
        **_DEEPSEEK,
        **_INDEX,
        "topk_method": "noaux_tc",
        "scoring_func": "sigmoid",
        "moe_layer_freq": 1,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "attention_bias": False,
    },
    "longcat_flash": {**_LONGCAT},
    "longcat_flash_ngram": {
        **_LONGCAT,
        "ngram_vocab_size_ratio": 3,
        "emb_neighbor_num": 3,
        "emb_split_num": 2,
    },
    "minicpm3": {
        **ATTENTION,
        **LATENT,
        **UNTIED,
        "num_key_value_heads": 4,
        "dim_model_base": 32,
        "scale_depth": 1.4,
        "scale_emb": 12,
        "rope_scaling": {
            "type": "longrope",
            "long_factor": [1.0] * 8,
            "short_factor": [1.0] * 8,
            "original_max_position_embeddings": 1024,
        },
    },
    "mistral4": {
        **_DEEPSEEK,
        **UNTIED,
        "head_dim": 48,
        "qk_head_dim": 48,
        "rope_parameters": {
            "rope_theta": 10000.0,
            "type": "yarn",
            "rope_type": "yarn",
            "factor": 4.0,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 16,
            "llama_4_scaling_beta": 0.1,
        },
    },
    "youtu_llm": {**ATTENTION, **LATENT, **TIED, "num_key_value_heads": 4},
}
