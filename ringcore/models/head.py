"""Rows of a tied head: the logits of some of the vocabulary's tokens, from the embedding they are tied to."""

import copy
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from ringcore.models.structure import Structure, module_at
from ringcore.spec.errors import PlanError


class Head:
    """``embedding`` as a head, and its part ``rows``. Shares its memory."""

    def __init__(self, embedding: nn.Module, rows: range, dtype: mx.Dtype) -> None:
        self._dtype = dtype
        self._whole: Any = copy.copy(embedding)
        self._part: Any = copy.copy(embedding)
        for name, value in embedding.items():
            if isinstance(value, mx.array):
                self._part[name] = value[rows.start : rows.stop]

    def part(self, hidden: mx.array) -> mx.array:
        """Logits (B, rows) of what the norm gave (B, D). Lazy."""
        return self._part.as_linear(hidden).astype(self._dtype)

    def whole(self, hidden: mx.array) -> mx.array:
        """All logits (B, V). Lazy."""
        return self._whole.as_linear(hidden).astype(self._dtype)


def tied_to(model: nn.Module, parts: Structure) -> nn.Module:
    """The embedding that is the head as well. Raises `PlanError` when there is none."""
    for path in parts.first:
        found = module_at(model, path)
        if path in parts.last and hasattr(found, "as_linear"):
            return found
    raise PlanError(
        f"the head of {type(model).__module__} is not its embedding: two ranks cannot share it",
        'plan again, or write head = "last" under [ring]',
    )
