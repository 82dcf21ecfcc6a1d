"""Lets an mlx-lm model's own code run one stage: how hidden states get into its layers and out of them.

The whole model is called, with its masks, scales and arguments for each layer its own. Layers of the
stages before answer with the hidden states that came from there, whatever the model's code made before
them; what it would do past the stage's own last layer is not begun. Knows no weights and no caches.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ringcore.spec.shard import Shard


def _itself(value: Any) -> Any:
    return value


def _itself_again(value: mx.array, _layer: Any) -> Any:
    return value


def _hidden_size(hidden_size: int) -> int:
    return hidden_size


@dataclass(frozen=True)
class Carry:
    """What a layer returns as one array (B, L, width) between stages, and back again; going back, the
    stage's first own layer tells shapes."""

    pack: Callable[[Any], mx.array] = _itself
    unpack: Callable[[mx.array, Any], Any] = _itself_again
    width: Callable[[int], int] = _hidden_size  # of the model's hidden size


PLAIN = Carry()


class _Left(Exception):
    """The stage's last layer has answered, or the norm before a shared head. ``out``: what it returned."""

    def __init__(self, out: Any) -> None:
        super().__init__("nothing past this is the stage's to compute")
        self.out = out


class Passage:
    """Changes ``layers`` (all of the model, those of other stages without arrays) and ``before`` (modules
    used before the layers) in place. ``dtype``: of the hidden states, for what stands in for them."""

    def __init__(
        self,
        shard: Shard,
        carry: Carry,
        layers: Sequence[nn.Module],
        before: Sequence[nn.Module],
        hidden_size: int,
        dtype: mx.Dtype,
    ) -> None:
        self._carry = carry
        self._hidden_size = hidden_size
        self._dtype = dtype
        self._first = layers[shard.start]
        self._arrived: Any = None
        self._to_the_end = False
        for number, layer in enumerate(layers):
            if number < shard.start:
                _answer(layer, lambda *_, **__: self._arrived)
        _answer(layers[shard.end - 1], self._leave(layers[shard.end - 1]))
        if 1 < shard.count < shard.total:
            _answer(self._first, _begin_with(self._first))
        for module in before:
            _answer(module, self._stand_in)

    def through(
        self, model: Callable[..., Any], ids: mx.array, cache: Sequence[Any], arrived: mx.array | None
    ) -> mx.array:
        """Hidden states (B, L, width) after the stage's last layer; lazy, as the caches are then."""
        self._arrived = None if arrived is None else self._carry.unpack(arrived, self._first)
        self._to_the_end = False
        try:
            model(ids, cache=list(cache))
        except _Left as left:
            return self._carry.pack(left.out)
        finally:
            self._arrived = None
        raise AssertionError("the model's code did not come to the stage's last layer")

    def to_the_end(
        self, model: Callable[..., Any], ids: mx.array, cache: Sequence[Any], arrived: mx.array | None
    ) -> mx.array:
        """Logits (B, 1, V) of the last position, or with `without_head` what goes into it (B, 1, D)."""
        self._arrived = None if arrived is None else self._carry.unpack(arrived, self._first)
        self._to_the_end = True
        try:
            return model(ids, cache=list(cache))
        except _Left as left:
            return left.out
        finally:
            self._arrived = None

    def without_head(self, embedding: nn.Module) -> None:
        """The model's code ends where it would use ``embedding`` as its head."""

        def leave(_self: nn.Module, hidden: mx.array) -> mx.array:
            raise _Left(hidden)

        _become(embedding, as_linear=leave)

    def _leave(self, layer: nn.Module) -> Callable[..., Any]:
        call: Callable[..., Any] = type(layer).__call__

        def answer(*arguments: Any, **named: Any) -> Any:
            out = call(layer, *arguments, **named)
            if not self._to_the_end:
                raise _Left(out)
            # Norm and head of all positions but the last would be computed for nothing.
            if isinstance(out, tuple):
                return (out[0][:, -1:, :], *out[1:])
            return out[:, -1:, :]

        return answer

    def _stand_in(self, ids: mx.array, *_: Any, **__: Any) -> mx.array:
        return mx.zeros((*ids.shape, self._hidden_size), self._dtype)


def _begin_with(layer: nn.Module) -> Callable[..., Any]:
    """The device works on the stage's first layer while Python builds those after it: between stages nothing
    can be built ahead, since the next step's input is not there."""
    call: Callable[..., Any] = type(layer).__call__

    def answer(*arguments: Any, **named: Any) -> Any:
        out = call(layer, *arguments, **named)
        mx.async_eval(out)
        return out

    return answer


def _answer(module: nn.Module, call: Callable[..., Any]) -> None:
    """Calling ``module`` calls ``call``; it stays an instance of its class, which the model may ask for."""

    def instead(_self: nn.Module, *arguments: Any, **named: Any) -> Any:
        return call(*arguments, **named)

    _become(module, __call__=instead)


def _become(module: nn.Module, **methods: Callable[..., Any]) -> None:
    kind = type(module)
    module.__class__ = type(kind.__name__, (kind,), {**methods, "__module__": kind.__module__})
