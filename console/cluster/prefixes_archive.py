"""A file that carries blocks of earlier sequences from one ring to another: a plain tar, the manifest first.

``manifest.json``, then ``blocks/<block>.<start>-<end>.safetensors`` for every file that it lists, in order.
What prompts said can be recovered from it: the file is for its owner alone. Defines what the manifest says.
"""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from console.cluster.prefixes import Deployed
from ringcore.spec.block_file import BlockFile

KIND = "mlxring prefix cache"
FORMAT = 1
MANIFEST = "manifest.json"
FOLDER = "blocks/"
NO_SUM = "0" * 64

Advance = Callable[[int, int], None]  # bytes that are done, of so many


class Part(Struct, frozen=True):
    """Layers ``start`` to ``end`` of a block: a file of ``bytes`` with this SHA-256."""

    start: int
    end: int
    bytes: int
    sha256: str = NO_SUM


class Block(Struct, frozen=True):
    """All layers of a block."""

    name: str
    parts: tuple[Part, ...]

    def files(self) -> Iterator[tuple[BlockFile, str]]:
        """With the sum of each."""
        for part in self.parts:
            yield BlockFile(self.name, part.start, part.end, part.bytes), part.sha256


class Manifest(Struct, frozen=True, kw_only=True):
    """``root`` is what the blocks' names hang on; ``bytes`` of all files. The least recently used blocks come
    first."""

    kind: str = KIND
    format: int = FORMAT
    model: str
    revision: str
    dtype: str
    kv_bits: int
    block_tokens: int
    root: str
    layers: int
    bytes: int
    made_at: float = 0.0
    blocks: tuple[Block, ...]

    def files(self) -> Iterator[tuple[BlockFile, str]]:
        for block in self.blocks:
            yield from block.files()


def manifest_of(ring: Deployed, root: str, blocks: Sequence[Block], made_at: float) -> Manifest:
    return Manifest(
        model=ring.model,
        revision=ring.revision,
        dtype=ring.dtype,
        kv_bits=ring.kv_bits,
        block_tokens=ring.block_tokens,
        root=root,
        layers=ring.layers,
        bytes=sum(part.bytes for block in blocks for part in block.parts),
        made_at=made_at,
        blocks=tuple(blocks),
    )
