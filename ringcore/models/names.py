"""Which tensors of a checkpoint belong to a stage, by name, and the numbering `sanitize` sees."""

import re
from collections.abc import Mapping
from typing import TypeVar

from ringcore.models.structure import Structure
from ringcore.spec.shard import Shard

T = TypeVar("T")

# What model files call their list of layers; the number of a layer follows.
_NUMBER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_USUAL_HEAD = "lm_head"


class Names:
    """Names in the file and names in the model differ in what stands before and after a layer's number.

    ``perhaps_tied``: the last stage may need the embedding, which its files tell.
    """

    def __init__(self, parts: Structure, shard: Shard, perhaps_tied: bool = False) -> None:
        self._shard = shard
        self._outer = tuple(f"{path}." for path in (*parts.outer, _USUAL_HEAD))
        wanted = (*parts.wanted(shard), *(parts.first if perhaps_tied and shard.is_last else ()))
        self._wanted = tuple(f"{path}." for path in wanted)

    def wanted(self, name: str) -> bool:
        """True for tensors of this stage, and for those of no known place, which `sanitize` may drop."""
        found = _NUMBER.search(name)
        if found and not f"{name}.".startswith(self._outer):
            return int(found[1]) in self._shard
        return f"{name}.".startswith(self._wanted) or not f"{name}.".startswith(self._outer)

    def from_zero(self, weights: Mapping[str, T]) -> dict[str, T]:
        """The stage's layers numbered from 0."""
        return {self._moved(name, -self._shard.start): value for name, value in weights.items()}

    def from_start(self, weights: Mapping[str, T]) -> dict[str, T]:
        """Undoes `from_zero`."""
        return {self._moved(name, self._shard.start): value for name, value in weights.items()}

    def _moved(self, name: str, by: int) -> str:
        found = _NUMBER.search(name)
        return f"{name[: found.start(1)]}{int(found[1]) + by}{name[found.end(1) :]}" if found else name
