"""Which tensors of a checkpoint belong to a stage, by name, and the numbering `sanitize` sees."""

import re
from collections.abc import Mapping
from typing import TypeVar

from ringcore.models.structure import Structure
from ringcore.spec.shard import Shard

T = TypeVar("T")


class Names:
    """Names in the file and names in the model differ inside a layer only, in what follows its number."""

    def __init__(self, parts: Structure, shard: Shard) -> None:
        self._shard = shard
        self._number = re.compile(rf"(?:^|\.){re.escape(parts.layers.rpartition('.')[2])}\.(\d+)\.")
        outer = (parts.embedding, parts.norm, parts.head or "lm_head")
        self._outer = tuple(f"{path}." for path in outer)
        self._wanted = tuple(f"{path}." for path in parts.wanted(shard))

    def wanted(self, name: str) -> bool:
        """True for tensors of this stage, and for those of no known place, which `sanitize` may drop."""
        found = self._number.search(name)
        if found:
            return int(found[1]) in self._shard
        return name.startswith(self._wanted) or not name.startswith(self._outer)

    def from_zero(self, weights: Mapping[str, T]) -> dict[str, T]:
        """The stage's layers numbered from 0."""
        return {self._moved(name, -self._shard.start): value for name, value in weights.items()}

    def from_start(self, weights: Mapping[str, T]) -> dict[str, T]:
        """Undoes `from_zero`."""
        return {self._moved(name, self._shard.start): value for name, value in weights.items()}

    def _moved(self, name: str, by: int) -> str:
        found = self._number.search(name)
        return f"{name[: found.start(1)]}{int(found[1]) + by}{name[found.end(1) :]}" if found else name
