"""A file with some layers of one block of the prefix cache: what its name says, on every host and on the way.

Under ``prefix/<root>/`` of a run's folder. What is in it is `ringcore.cache.disk`'s.
"""

import re
from typing import Annotated

from msgspec import Meta, Struct

PREFIX_FOLDER = "prefix"  # in the run folder
_NAME = re.compile(r"([0-9a-f]{32})\.([0-9]{1,6})-([0-9]{1,6})\.safetensors")

BlockName = Annotated[str, Meta(pattern="^[0-9a-f]{32}$")]
_Layer = Annotated[int, Meta(ge=0, lt=10**6)]


class BlockFile(Struct, frozen=True, array_like=True):
    """Layers ``start`` to ``end`` of the block ``name``, in ``size`` bytes."""

    name: BlockName
    start: _Layer
    end: _Layer
    size: Annotated[int, Meta(ge=0)] = 0

    @property
    def file_name(self) -> str:
        return f"{self.name}.{self.start}-{self.end}.safetensors"


def parse(file_name: str, size: int) -> BlockFile | None:
    """None when no block's file has that name."""
    match = _NAME.fullmatch(file_name)
    return BlockFile(match[1], int(match[2]), int(match[3]), size) if match else None
