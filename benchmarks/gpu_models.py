"""Random 4-bit models in the shapes of two real ones, written as folders that mlx-lm and a ring both load.

Runs as a process of its own: it loads MLX, and for a while takes the memory of one layer more than the
model. ``tiny`` keeps the architecture and what its kernels need of the widths.
"""

import argparse
import importlib
from pathlib import Path
from typing import Any

LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "intermediate_size": 14336,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-5,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
}
DEEPSEEK = {
    "model_type": "deepseek_v2",
    "hidden_size": 2048,
    "num_hidden_layers": 27,
    "intermediate_size": 10944,
    "moe_intermediate_size": 1408,
    "first_k_dense_replace": 1,
    "n_routed_experts": 64,
    "n_shared_experts": 2,
    "num_experts_per_tok": 6,
    "n_group": 1,
    "topk_group": 1,
    "topk_method": "greedy",
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "q_lora_rank": None,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "rms_norm_eps": 1e-6,
    "vocab_size": 102400,
    "max_position_embeddings": 163840,
    "rope_theta": 10000,
    "rope_scaling": {
        "type": "yarn",
        "factor": 40,
        "original_max_position_embeddings": 4096,
        "beta_fast": 32,
        "beta_slow": 1,
        "mscale": 0.707,
        "mscale_all_dim": 0.707,
    },
}
SHAPES: dict[str, dict[str, Any]] = {"llama-3-8b": LLAMA, "deepseek-v2-lite": DEEPSEEK}
_TINY: dict[str, dict[str, Any]] = {
    "llama-3-8b": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "intermediate_size": 512,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1024,
    },
    "deepseek-v2-lite": {
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "intermediate_size": 512,
        "moe_intermediate_size": 128,
        "n_routed_experts": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "kv_lora_rank": 128,
        "vocab_size": 1024,
    },
}
GROUP_SIZE, BITS, SEED = 64, 4, 7
DTYPES = ("bfloat16", "float32")


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu_models")
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0])
    asked = parser.parse_args()
    make(asked.name, asked.folder, tiny=asked.tiny, dtype=asked.dtype)
    return 0


def make(name: str, folder: Path, *, tiny: bool, dtype: str) -> None:
    """``dtype``: of scales and norms, and so of all that floats."""
    import mlx.core as mx
    from mlx.utils import tree_flatten, tree_map
    from mlx_lm.utils import quantize_model, save_config, save_model

    config = SHAPES[name] | (_TINY[name] if tiny else {})
    config["torch_dtype"] = dtype
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    mx.random.seed(SEED)
    network = module.Model(module.ModelArgs.from_dict(config))

    def wide(array: mx.array) -> mx.array:
        # wider than a fresh network, whose every token predicts itself
        if array.ndim > 1:
            array = mx.random.normal(array.shape) * (2.0 / array.shape[-1] ** 0.5)
        return array.astype(getattr(mx, dtype))

    network.update(tree_map(wide, network.parameters()))
    network, config = quantize_model(network, config, group_size=GROUP_SIZE, bits=BITS)
    for _, array in tree_flatten(network.parameters()):
        mx.eval(array)  # one by one: only then is what it is made from never there as a whole
    save_model(folder, network)
    save_config(config, folder / "config.json")


if __name__ == "__main__":
    raise SystemExit(main())
