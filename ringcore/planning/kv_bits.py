"""Keys and values in 8 or 4 bits: which models can keep them so, and what their caches take then. Pure.

Layers that keep all tokens are meant. Layers of a window or a state stay as they are computed, whatever is
asked for: mlx-lm has no such caches in few bits.
"""

from collections.abc import Mapping

from msgspec import structs

from ringcore.planning.architectures import SAME_AS, VERIFIED
from ringcore.planning.config import words
from ringcore.planning.kept import GROUPS, ITEM_BYTES, bytes_in_bits, group_of
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError

# Verified architectures whose attention in mlx-lm does not take such caches, and why.
WITHOUT: Mapping[str, str] = {
    **dict.fromkeys(
        words(
            """
            bailing_hybrid bailing_moe_v3 deepseek_v3 deepseek_v32 glm4_moe_lite glm_moe_dsa kimi_k25
            kimi_linear kimi_vl longcat_flash longcat_flash_ngram mistral4
            """
        ),
        "its attention multiplies the cached latents itself",
    ),
    **dict.fromkeys(
        words("gemma2 phi phi3small phixtral plamo plamo2 stablelm"),
        "its attention computes with the cached keys itself",
    ),
    "gpt_oss": "its attention has sinks",
    "minimax_m3_vl": "its attention looks keys up by an index",
    **dict.fromkeys(words("mamba mamba2 rwkv7"), "its layers keep states"),
    "recurrent_gemma": "its layers keep windows and states",
}


def reason_against(architecture: str) -> str:
    """Why no model of this architecture (a module of mlx-lm, or a ``model_type``) keeps them in few bits;
    "" when models can."""
    name = SAME_AS.get(architecture, architecture)
    if name not in VERIFIED:
        return "nobody tried it with this architecture"
    return WITHOUT.get(name, "")


def why_not(card: ModelCard) -> str:
    """Why this model cannot keep keys and values in few bits; "" when it can."""
    reason = reason_against(card.architecture)
    if reason:
        return reason
    meant = [layer for layer in card.layers if _meant(layer)]
    if not meant:
        return "no layer of it keeps the keys and values of all tokens"
    odd = next((layer.kv_head for layer in meant if not group_of(layer.kv_head)), None)
    if odd == 0:
        return "the attention of this model does not take them"
    return "" if odd is None else f"its heads of {odd} numbers are no multiple of {GROUPS[-1]}"


def check(card: ModelCard, bits: int) -> None:
    """Raises `PlanError` when ``bits`` (0: as computed) cannot be had."""
    reason = why_not(card) if bits else ""
    if reason:
        raise PlanError(
            f"{card.name} cannot keep keys and values in {bits} bits: {reason}",
            "remove kv_bits under [cache], or take a model of another architecture (see `mlxring models`)",
        )


def in_bits(card: ModelCard, bits: int) -> ModelCard:
    """``card`` with its caches in ``bits`` bits, which it must be able to; with 0 as it is."""
    if not bits:
        return card
    item = ITEM_BYTES.get(card.dtype, 4)
    return structs.replace(card, layers=tuple(_layer(layer, bits, item) for layer in card.layers))


def _layer(layer: LayerCard, bits: int, item: int) -> LayerCard:
    if not _meant(layer):
        return layer
    size = bytes_in_bits(layer.kv_bytes_per_token // item, bits, group_of(layer.kv_head), item)
    return structs.replace(layer, kv_bytes_per_token=size)


def _meant(layer: LayerCard) -> bool:
    return layer.kv_bytes_per_token > 0 and not layer.kv_window
