"""One planning task: needs, rooms and speeds, seen by stage along the pipeline as `split` wants them.

Ranks number hosts, stages number the way of a hidden state: with order "reverse" the last rank is stage 0.
"""

from collections.abc import Sequence

from ringcore.planning.capacity import Room
from ringcore.planning.needs import Needs
from ringcore.planning.pace import Reads, rows_together
from ringcore.planning.speed import ReadSpeed
from ringcore.spec.profile import RingOptions


class Task:
    """``rooms`` and ``speeds`` in rank order. ``counts`` are the layers each stage may hold; None: any."""

    def __init__(
        self, needs: Needs, rooms: Sequence[Room], speeds: Sequence[ReadSpeed], ring: RingOptions
    ) -> None:
        self.needs = needs
        self.rooms = tuple(rooms)
        self.speeds = tuple(speeds)
        self.ring = ring
        self.ranks = tuple(sorted(range(len(rooms)), reverse=ring.order == "reverse"))
        self.capacities = [self.rooms[rank].usable_bytes for rank in self.ranks]
        self.counts = self._counts()
        self._reads = Reads(needs, rows_together(needs.sequences, len(rooms)))

    def position(self, rank: int) -> int:
        """The stage that this rank is."""
        return self.ranks.index(rank)

    def need(self, _stage: int, start: int, end: int) -> int:
        return self.needs.all(start, end)

    def cost(self, stage: int, start: int, end: int) -> float:
        """What the objective keeps small: a share of memory, else the time of a step."""
        if self.ring.objective == "memory" and not self.ring.layers:
            return self.needs.all(start, end) / max(1, self.capacities[stage])
        return self._reads.seconds(self.speeds[self.ranks[stage]].bytes_per_second, start, end)

    def _counts(self) -> list[tuple[int, ...]] | None:
        if self.ring.layers:
            return [(self.ring.layers[rank],) for rank in self.ranks]
        if self.ring.objective == "equal":
            least = self.needs.total // len(self.ranks)
            most = -(-self.needs.total // len(self.ranks))
            return [(least, most)] * len(self.ranks)
        return None
