"""Makes the folders of the models that are compared: ``python -m benchmarks.models FOLDER NAME...``

The same folder is given to every contender. Floating tensors are float32, as a rank holds them on a CPU,
so nobody casts. No token ends an answer, and each is a word of text: what a client counts is tokens.
Runs as a process of its own: it loads MLX, and may need the memory of a whole model.
"""

import asyncio
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from console.demo.cache import user_cache
from console.demo.model import demo_model

_SMOLLM2_SHAPE = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "intermediate_size": 1536,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "rms_norm_eps": 1e-5,
    "vocab_size": 49152,
    "max_position_embeddings": 8192,
    "rope_theta": 100000.0,
    "tie_word_embeddings": True,
}
_TINY_SHAPE = _SMOLLM2_SHAPE | {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}


class Model(Struct, frozen=True, kw_only=True):
    """One model of the comparison. ``shape`` None: the demo model's own weights, else random ones of that
    shape in mlx-lm's ``qwen2``, a dense architecture that ``--pipeline`` knows."""

    about: str
    shape: Mapping[str, Any] | None = None
    quantized: bool = False

    @property
    def pipelines(self) -> bool:
        """Can mlx-lm cut it into stages."""
        return self.shape is not None


MODELS: Mapping[str, Model] = {
    "smollm2-4bit": Model(about="SmolLM2-135M-Instruct, 4 bit, float32 scales", quantized=True),
    "smollm2-float32": Model(about="SmolLM2-135M-Instruct, dequantised to float32"),
    "qwen2-4bit": Model(
        about="qwen2 of SmolLM2's shape, random, 4 bit, float32 scales", shape=_SMOLLM2_SHAPE, quantized=True
    ),
    "qwen2-float32": Model(about="qwen2 of SmolLM2's shape, random, float32", shape=_SMOLLM2_SHAPE),
    "tiny": Model(about="qwen2 of 4 small layers, random, float32: for --quick", shape=_TINY_SHAPE),
}
GROUP_SIZE, BITS = 32, 4


def main(arguments: list[str]) -> int:
    folder = Path(arguments[0])
    for name in arguments[1:]:
        make(MODELS[name], folder / name)
    return 0


def make(model: Model, folder: Path) -> None:
    """Write config, weights (with the index that mlx-lm's pipeline wants) and tokenizer."""
    from mlx_lm.utils import save_config, save_model

    network, config = _random(model, model.shape) if model.shape is not None else _smollm2(model)
    for key in ("eos_token_id", "bos_token_id", "pad_token_id"):
        config.pop(key, None)
    save_model(folder, network)
    save_config(config, folder / "config.json")
    write_tokenizer(folder, config["vocab_size"])


def _smollm2(model: Model) -> tuple[Any, dict[str, Any]]:
    import mlx.core as mx
    from mlx_lm.utils import dequantize_model, load_model

    source = asyncio.run(demo_model(user_cache(), lambda _share, _text: None))
    network, config = load_model(source)
    network.update(_cast(network.parameters()))
    if not model.quantized:
        network = dequantize_model(network)
        config = {key: value for key, value in config.items() if not key.startswith("quantization")}
    config["torch_dtype"] = "float32"
    mx.eval(network.parameters())
    return network, config


def _random(model: Model, shape: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    import mlx.core as mx
    from mlx.utils import tree_map
    from mlx_lm.utils import quantize_model

    config: dict[str, Any] = {"model_type": "qwen2", "torch_dtype": "float32", **shape}
    module = importlib.import_module("mlx_lm.models.qwen2")
    mx.random.seed(7)
    network = module.Model(module.ModelArgs.from_dict(config))

    def wider(array: mx.array) -> mx.array:
        # than a fresh network, whose every token predicts itself
        return mx.random.normal(array.shape) * (2.0 / array.shape[-1] ** 0.5) if array.ndim > 1 else array

    network.update(tree_map(wider, network.parameters()))
    network.update(_cast(network.parameters()))
    if model.quantized:
        network, config = quantize_model(network, config, group_size=GROUP_SIZE, bits=BITS)
    mx.eval(network.parameters())
    return network, config


def _cast(parameters: Any) -> Any:
    import mlx.core as mx
    from mlx.utils import tree_map

    def cast(array: mx.array) -> mx.array:
        return array.astype(mx.float32) if mx.issubdtype(array.dtype, mx.floating) else array

    return tree_map(cast, parameters)


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A tokenizer whose every id is a word: no token waits for another to become text, none is special."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({f"t{n}": n for n in range(vocabulary)}, unk_token="t0"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
