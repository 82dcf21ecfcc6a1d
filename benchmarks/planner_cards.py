"""Cards of two real models from their configurations: the tensors as mlx-lm makes them, none in memory."""

import importlib
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten
from mlx_lm.utils import quantize_model

from benchmarks.gpu_models import DEEPSEEK, LLAMA
from ringcore.checkpoint.survey import Tensor
from ringcore.planning.card import make_card
from ringcore.spec.card import ModelCard

_LLAMA_70B = {
    **LLAMA,
    "hidden_size": 8192,
    "num_hidden_layers": 80,
    "intermediate_size": 28672,
    "num_attention_heads": 64,
    "max_position_embeddings": 131072,
}
_DTYPES = {mx.uint32: "U32", mx.bfloat16: "BF16", mx.float32: "F32"}


def deepseek_coder_v2_lite() -> ModelCard:
    return _card("DeepSeek-Coder-V2-Lite 8-bit", DEEPSEEK, 8)


def llama_70b() -> ModelCard:
    return _card("Llama-3.3-70B 4-bit", _LLAMA_70B, 4)


def _card(name: str, config: dict[str, Any], bits: int) -> ModelCard:
    module = importlib.import_module(f"mlx_lm.models.{config['model_type']}")
    model: nn.Module = module.Model(module.ModelArgs.from_dict(config))
    model.set_dtype(mx.bfloat16)
    # Arrays are lazy: their shapes are known, nothing is computed.
    model, config = quantize_model(model, dict(config), group_size=64, bits=bits)
    tensors = [
        Tensor(path, _DTYPES[array.dtype], tuple(array.shape), array.nbytes)
        for path, array in tree_flatten(model.parameters())
    ]
    return make_card(name, config, tensors, "stored")
