"""Which blocks of the prefix cache are whole over all hosts, where each rank lacks layers of one, and which
files would bring them. Pure: plain values in and out.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct

from ringcore.spec.block_file import BlockFile
from ringcore.spec.shard import Shard


class Move(Struct, frozen=True):
    """``file`` goes from the host of rank ``source`` to those of ``targets``."""

    file: BlockFile
    source: int
    targets: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """That all targets get together."""
        return self.file.size * len(self.targets)


class Whereabouts:
    """``shards``: of each rank, in the order of ranks."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        self._shards = tuple(shards)
        self._files: dict[str, dict[int, list[BlockFile]]] = {}  # name -> rank -> files on its host

    def add(self, rank: int, files: Iterable[BlockFile]) -> None:
        """They lie on the host of ``rank``."""
        for file in files:
            self._files.setdefault(file.name, {}).setdefault(rank, []).append(file)

    def remove(self, rank: int, file: BlockFile) -> None:
        """It is not there after all."""
        there = self._files.get(file.name, {}).get(rank, [])
        if file in there:
            there.remove(file)

    def elsewhere(self) -> dict[str, int]:
        """Blocks that are whole, but not in place on every rank's host; the bytes that must go for each."""
        found: dict[str, int] = {}
        for name in self._files:
            moves = self.moves(name)
            if moves:
                found[name] = sum(move.bytes for move in moves)
        return found

    def moves(self, name: str) -> list[Move] | None:
        """What brings the block to every rank that lacks layers of it: nothing where none does, None where
        no host has them."""
        wanted: dict[tuple[BlockFile, int], list[int]] = {}
        there = self._files.get(name, {})
        for rank, shard in enumerate(self._shards):
            own = there.get(rank, [])
            every = [(file, source) for source, files in there.items() for file in files]
            layer = shard.start
            while layer < shard.end:
                reach = max((file.end for file in own if file.start <= layer < file.end), default=0)
                if not reach:
                    able = [each for each in every if each[0].start <= layer < each[0].end]
                    if not able:
                        return None
                    # The furthest, or else the smallest; of a rank that many can ask, always the same.
                    best = min(able, key=lambda each: (-min(each[0].end, shard.end), each[0].size, each[1]))
                    wanted.setdefault(best, []).append(rank)
                    reach = best[0].end
                layer = reach
        return [Move(file, source, tuple(targets)) for (file, source), targets in wanted.items()]
