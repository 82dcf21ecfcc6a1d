"""How layers that return more than the hidden states are carried from stage to stage, one way a name."""

from typing import Any

import mlx.core as mx

from ringcore.models.passage import Carry


def _first(out: Any) -> mx.array:
    return out[0]


def _with_first_values(out: Any) -> mx.array:
    hidden, values = out
    return mx.concatenate([hidden, values.reshape(*hidden.shape[:2], -1).astype(hidden.dtype)], axis=-1)


def _without_first_values(carried: mx.array, layer: Any) -> tuple[mx.array, mx.array]:
    hidden, values = mx.split(carried, 2, axis=-1)
    return hidden, values.reshape(*hidden.shape[:2], layer.attn.num_heads, -1)


# Only the hidden states: what else a layer returns is read by layers of the same stage, or by none.
ALONE_OF_TWO = Carry(pack=_first, unpack=lambda carried, _: (carried, None))
ALONE_OF_THREE = Carry(pack=_first, unpack=lambda carried, _: (carried, None, None))
# RWKV-7: every layer mixes in the values of the first, which are as wide as the hidden states.
WITH_FIRST_VALUES = Carry(
    pack=_with_first_values, unpack=_without_first_values, width=lambda hidden_size: 2 * hidden_size
)
