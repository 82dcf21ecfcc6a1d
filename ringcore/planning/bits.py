"""What a model would weigh with 4-bit weights: each tensor as `mlx_lm.convert` would store it. Pure."""

import re
from math import prod

from msgspec import structs

from ringcore.checkpoint.survey import Tensor
from ringcore.planning.config import Config
from ringcore.spec.card import LayerCard, ModelCard

_BITS = 4
_GROUP = 64
_WORD = 32  # packed weights are unsigned words of so many bits
# Convolutions, and routers of experts: some are kept, others get 8 bits.
_KEPT = re.compile(r"conv|\.(?:gate|router)\.weight$")
_FLOATING = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")


def four_bit_bytes(tensor: Tensor, size: int, config: Config, item_bytes: int) -> int:
    """``tensor``, which weighs ``size`` as it is, at 4 bits: packed ones with the groups they have, matrices
    of numbers in groups of 64 with a scale and a bias of ``item_bytes`` each."""
    if not tensor.name.endswith(".weight") or len(tensor.shape) < 2:
        return size
    if tensor.dtype == "U32":
        bits = _bits_of(config, tensor.name)
        return size * _BITS // bits if bits > _BITS else size
    if tensor.dtype not in _FLOATING or tensor.shape[-1] % _GROUP or _KEPT.search(tensor.name):
        return size
    numbers = prod(tensor.shape)
    return min(size, numbers * _BITS // 8 + 2 * item_bytes * (numbers // _GROUP))


def at_four_bits(card: ModelCard) -> ModelCard | None:
    """The card of the same model at 4 bits; None when it has no more than that already, or is not known."""
    bits = card.quantization.partition("-")[0]
    if not card.four_bit_embedding_bytes or (bits.isdecimal() and int(bits) <= _BITS):
        return None
    layers = tuple(_lighter(layer) for layer in card.layers)
    return structs.replace(
        card,
        layers=layers,
        embedding_bytes=card.four_bit_embedding_bytes,
        head_bytes=card.four_bit_head_bytes,
        quantization=f"{_BITS}-bit",
    )


def _lighter(layer: LayerCard) -> LayerCard:
    size = layer.four_bit_bytes or layer.weight_bytes
    read = layer.read_bytes_per_token * size // max(1, layer.weight_bytes)
    return structs.replace(layer, weight_bytes=size, read_bytes_per_token=read)


def _bits_of(config: Config, name: str) -> int:
    """Of one module, which may have bits of its own."""
    said = config.get("quantization")
    said = said if isinstance(said, dict) else {}
    own = said.get(name.removesuffix(".weight"))
    bits = own.get("bits") if isinstance(own, dict) else said.get("bits")
    return bits if isinstance(bits, int) and 0 < bits <= _WORD else _BITS
