"""One planning task: needs, rooms, speeds and links of hosts, by stage along the pipeline as `split` wants.

Ranks number hosts, stages number the way of a hidden state: with order "reverse" the last rank is stage 0.
Costs are whole numbers: picoseconds, or of memory billionths of what a host has.
"""

from collections.abc import Sequence

from msgspec import structs

from ringcore.planning.capacity import Room
from ringcore.planning.ground import Ground
from ringcore.planning.needs import Needs
from ringcore.planning.pace import LAYER_SECONDS, Link, Reads, rows_together
from ringcore.planning.speed import ReadSpeed
from ringcore.planning.split import Line, Stages
from ringcore.spec.plan import Stage
from ringcore.spec.profile import RingOptions
from ringcore.spec.shard import Shard

_PICO = 10**12
_SHARE = 10**9


class Task:
    """``rooms``, ``speeds`` and ``links`` in rank order. ``counts`` are the layers each stage may
    hold; None: any. ``ground`` says what fewer hosts would have, ``places`` where these are in the profile;
    without it each keeps what it has."""

    def __init__(
        self,
        needs: Needs,
        rooms: Sequence[Room],
        speeds: Sequence[ReadSpeed],
        links: Sequence[Link],
        ring: RingOptions,
        ground: Ground | None = None,
        places: Sequence[int] = (),
    ) -> None:
        self.needs = needs
        self.rooms = tuple(rooms)
        self.speeds = tuple(speeds)
        self.links = tuple(links)
        self.ring = ring
        self.ground = ground
        self.places = tuple(places or range(len(rooms)))
        self.ranks = tuple(sorted(range(len(rooms)), reverse=ring.order == "reverse"))
        self.capacities = [self.rooms[rank].usable_bytes for rank in self.ranks]
        self.counts = self._counts()

    @classmethod
    def on(cls, ground: Ground, needs: Needs, ring: RingOptions, places: Sequence[int]) -> "Task":
        """Of the hosts at these places in the profile, and no others."""
        here = ground.of(places)
        return cls(needs, here.rooms, here.speeds, here.links, ring, ground, places)

    @property
    def objective(self) -> str:
        return "by hand" if self.ring.layers else self.ring.objective

    @property
    def leader(self) -> int:
        """The stage that rank 0 is."""
        return self.position(0)

    @property
    def hops(self) -> list[int]:
        return [round(self.links[rank].seconds * _PICO) for rank in self.ranks]

    def position(self, rank: int) -> int:
        """The stage that this rank is."""
        return self.ranks.index(rank)

    def seated(self, ranks: Sequence[int]) -> "Task":
        """The task of these hosts only, in this order: ``ranks[n]`` becomes rank n."""
        if tuple(ranks) == tuple(range(len(self.rooms))):
            return self
        if self.ground is not None:
            return Task.on(self.ground, self.needs, self.ring, [self.places[rank] for rank in ranks])
        rooms = [structs.replace(self.rooms[rank], rank=number) for number, rank in enumerate(ranks)]
        speeds, links = [self.speeds[rank] for rank in ranks], [self.links[rank] for rank in ranks]
        return Task(self.needs, rooms, speeds, links, self.ring)

    def under(self, needs: Needs) -> "Task":
        """The same hosts with other needs."""
        return Task(needs, self.rooms, self.speeds, self.links, self.ring, self.ground, self.places)

    def asking(self, **ring: object) -> "Task":
        """The same with other options of the ring."""
        changed = structs.replace(self.ring, **ring)
        return Task(self.needs, self.rooms, self.speeds, self.links, changed, self.ground, self.places)

    def seats(self) -> tuple[Stage, ...]:
        """A stage a rank, its layers not chosen yet."""
        total = self.needs.total
        return tuple(
            Stage(
                rank=room.rank,
                host=room.host,
                shard=Shard(0, total, total),
                weight_bytes=0,
                kv_bytes=0,
                workspace_bytes=0,
                reserve_bytes=room.reserve_bytes,
                ceiling_bytes=room.ceiling_bytes,
                ceiling_source=room.ceiling_source,
                bytes_per_second=speed.bytes_per_second,
                speed_source=speed.source,
                link_seconds=link.seconds,
                link_bytes_per_second=link.bytes_per_second,
            )
            for room, speed, link in zip(self.rooms, self.speeds, self.links, strict=True)
        )

    def stages(self, *, head: bool = True) -> Stages:
        """``head``: whether time costs have the head with the last layer."""
        need = self._need()
        count = len(self.ranks)
        if self.objective == "memory":
            costs = [self._share(need, n) for n in range(count)]
        else:
            costs = self._times(head=head)
        return Stages(self.needs.total, [need] * count, self.capacities, costs)

    def _need(self) -> Line:
        up, down = self.needs.lines()
        if len(self.ranks) == 1:
            up[-1] += self.needs.all(0, self.needs.total) - Line(up, down).of(0, self.needs.total)
        return Line(up, down)

    def _share(self, need: Line, stage: int) -> Line:
        have = max(1, self.capacities[stage])
        return Line(
            [each * _SHARE // have for each in need.up], [each * _SHARE // have for each in need.down]
        )

    def _times(self, *, head: bool) -> list[Line]:
        # Latency is what one conversation waits; otherwise as many decode together as a step has.
        alone = self.objective == "latency"
        rows = 1 if alone else rows_together(self.needs, len(self.ranks))
        reads = Reads(self.needs, rows)
        last = reads.norm + (reads.head if head else 0)
        return [self._time(reads, last, self.speeds[rank].bytes_per_second) for rank in self.ranks]

    def _time(self, reads: Reads, last: int, bytes_per_second: float) -> Line:
        down = [
            round((size / bytes_per_second + number * LAYER_SECONDS) * _PICO)
            for number, size in enumerate(reads.sums)
        ]
        up = list(down)
        up[-1] += round(last / bytes_per_second * _PICO)
        return Line(up, down)

    def _counts(self) -> list[tuple[int, ...]] | None:
        if self.ring.layers:
            return [(self.ring.layers[rank],) for rank in self.ranks]
        if self.ring.objective == "equal":
            least = self.needs.total // len(self.ranks)
            most = -(-self.needs.total // len(self.ranks))
            return [(least, most)] * len(self.ranks)
        return None
