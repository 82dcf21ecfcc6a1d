"""The tokenizer inside a GGUF file as ``tokenizer.json`` and ``tokenizer_config.json``.

Owns the pre-tokeniser of each ``tokenizer.ggml.pre`` that is understood; knows nothing of weights.
Byte-level BPE only (``tokenizer.ggml.model == "gpt2"``).
"""

# pyright: reportUnknownMemberType=false

from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Digits, PreTokenizer, Sequence, Split

from ringcore.models.gguf import Metadata
from ringcore.spec.errors import PlanError

_CONTROL, _USER_DEFINED = 3, 4  # of tokenizer.ggml.token_type

_QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def build_tokenizer(metadata: Metadata) -> Tokenizer:
    """Raises `PlanError` when the file's tokenizer is of another kind."""
    kind = metadata.get("tokenizer.ggml.model")
    if kind != "gpt2":
        raise PlanError(
            f"the file's tokenizer is of kind {kind!r}; only 'gpt2' (byte-level BPE) can be converted",
            "take the model's safetensors instead",
        )
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [_pair(merge) for merge in metadata["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = _pre_tokenizer(str(metadata.get("tokenizer.ggml.pre", "")))
    tokenizer.decoder = ByteLevelDecoder()
    kinds: list[int] = metadata.get("tokenizer.ggml.token_type", [])
    added = [
        AddedToken(token, special=kind == _CONTROL, normalized=False)
        for token, kind in zip(tokens, kinds, strict=False)
        if kind in (_CONTROL, _USER_DEFINED)
    ]
    tokenizer.add_tokens(added)
    return tokenizer


def tokenizer_config(metadata: Metadata) -> dict[str, Any]:
    """What transformers needs beside ``tokenizer.json``."""
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    config: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        "add_bos_token": bool(metadata.get("tokenizer.ggml.add_bos_token", False)),
        "model_max_length": int(metadata["llama.context_length"]),
    }
    for ours, theirs in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"), ("unk", "unknown")):
        if (token := metadata.get(f"tokenizer.ggml.{theirs}_token_id")) is not None:
            config[f"{ours}_token"] = tokens[int(token)]
    if template := metadata.get("tokenizer.chat_template"):
        config["chat_template"] = template
    return config


def _pair(merge: str) -> tuple[str, str]:
    left, _, right = merge.partition(" ")
    return left, right


def _pre_tokenizer(name: str) -> PreTokenizer:
    if name in ("smollm", "refact", "starcoder"):
        return Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])
    if name in ("gpt-2", "gpt2"):
        return ByteLevel(add_prefix_space=False, use_regex=True)
    if name == "qwen2":
        split = Split(Regex(_QWEN2), "isolated")
        return Sequence([split, ByteLevel(add_prefix_space=False, use_regex=False)])
    raise PlanError(
        f"the file splits text in the way {name!r}, which is not known",
        "take the model's safetensors instead",
    )
