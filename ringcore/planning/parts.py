"""Which part of a model a tensor belongs to, by its name in the checkpoint, whatever the architecture."""

import re
from typing import Literal

Outer = Literal["embedding", "positions", "head", "norm"]

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.([0-9]+)\.")
_OUTER: dict[Outer, re.Pattern[str]] = {
    "embedding": re.compile(
        r"(?:^|\.)(?:embed_tokens|wte|tok_embeddings|word_embeddings|embeddings?|embed_in"
        r"|token_embeddings|embd|ngram_embeddings)\."
    ),
    "positions": re.compile(r"(?:^|\.)wpe\."),
    "head": re.compile(r"(?:^|\.)(?:lm_head|output|embed_out|ff_out)\."),
    "norm": re.compile(
        r"(?:^|\.)(?:norm|norm_f|ln_f|final_layernorm|final_layer_norm|final_norm|embedding_norm)\."
    ),
}
# What mlx-lm's `sanitize` drops: pictures, sound, and heads that predict further tokens.
_FOREIGN = re.compile(
    r"(?:^|\.)(?:vision\w*|visual|audio\w*|embed_vision|embed_audio|multi_modal_projector|mm_projector"
    r"|patch_merge_mlp|mtp\w*)\."
)
_EXPERTS = re.compile(r"\.(?:experts|switch_mlp|switch_glu)\.")


def part_of(name: str) -> Outer | int | None:
    """The number of the layer, or the part beside the layers; None for what is not loaded."""
    if _FOREIGN.search(name):
        return None
    layer = _LAYER.search(name)
    if layer is not None:
        return int(layer[1])
    return next((part for part, pattern in _OUTER.items() if pattern.search(name)), None)


def is_foreign(name: str) -> bool:
    """Whether a tensor belongs to what mlx-lm drops on loading: pictures, sound, further tokens."""
    return _FOREIGN.search(name) is not None


def is_expert(name: str) -> bool:
    """Whether a tensor belongs to experts of which a token uses some only."""
    return _EXPERTS.search(name) is not None
