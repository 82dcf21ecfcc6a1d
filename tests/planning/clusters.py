"""Small random clusters for the planner's searches, and every answer there is to them, tried one by one."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, permutations
from typing import NamedTuple

from hypothesis import strategies as st

from ringcore.planning.split import Line, Runs, Stages


class Cluster(NamedTuple):
    """Layer sizes, capacities, slowness and hops of stages; what the first and last one hold besides."""

    sizes: tuple[int, ...]
    capacities: tuple[int, ...]
    slowness: tuple[int, ...]
    hops: tuple[int, ...]
    first: int
    last: int

    @property
    def layers(self) -> int:
        return len(self.sizes)

    def need(self, start: int, end: int) -> int:
        size = sum(self.sizes[start:end]) + (self.first if start == 0 else 0)
        return size + (self.last if end == self.layers else 0)

    def cost(self, stage: int, start: int, end: int) -> int:
        """The first stage's extra is memory only, as an embedding is."""
        size = sum(self.sizes[start:end]) + (self.last if end == self.layers else 0)
        return size * self.slowness[stage]

    def stages(self) -> Stages:
        sums = [sum(self.sizes[:n]) for n in range(self.layers + 1)]
        up = [*sums[:-1], sums[-1] + self.last]
        need = Line(up, [-self.first, *sums[1:]])
        count = len(self.capacities)
        costs = [Line([each * k for each in up], [each * k for each in sums]) for k in self.slowness]
        return Stages(self.layers, [need] * count, self.capacities, costs)

    def cuts(self, stages: int) -> Iterator[Runs]:
        for ends in combinations(range(1, self.layers), stages - 1):
            yield tuple(pairwise((0, *ends, self.layers)))

    def holds(self, order: Sequence[int], runs: Runs) -> bool:
        return all(self.need(*run) <= self.capacities[stage] for stage, run in zip(order, runs, strict=True))

    def costs(self, order: Sequence[int], runs: Runs) -> list[int]:
        return [self.cost(stage, *run) for stage, run in zip(order, runs, strict=True)]

    def sum_of(self, order: Sequence[int], runs: Runs) -> int:
        return sum(self.costs(order, runs)) + sum(self.hops[stage] for stage in order)

    def fitting(self, order: Sequence[int]) -> list[Runs]:
        return [runs for runs in self.cuts(len(order)) if self.holds(order, runs)]

    def orders(self, fixed: int) -> list[tuple[int, ...]]:
        """All orders of all stages in which ``fixed``, the first or the last, keeps its place."""
        others = [stage for stage in range(len(self.capacities)) if stage != fixed]
        return [(fixed, *order) if fixed == 0 else (*order, fixed) for order in permutations(others)]

    def subsets(self, fixed: int) -> list[tuple[int, ...]]:
        """All choices of stages with ``fixed`` among them, in the given order."""
        every = range(len(self.capacities))
        sizes = range(1, len(self.capacities) + 1)
        return [chosen for size in sizes for chosen in combinations(every, size) if fixed in chosen]

    def best_sum(self, orders: Sequence[tuple[int, ...]]) -> int | None:
        sums = [self.sum_of(order, runs) for order in orders for runs in self.fitting(order)]
        return min(sums, default=None)


@st.composite
def clusters(draw: st.DrawFn, most_stages: int = 4) -> Cluster:
    sizes = draw(st.lists(st.integers(0, 12), min_size=1, max_size=8))
    count = draw(st.integers(1, min(most_stages, len(sizes))))

    def some(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    return Cluster(
        tuple(sizes),
        some(0, 60),
        some(1, 5),
        some(0, 20),
        draw(st.integers(0, 9)),
        draw(st.integers(0, 9)),
    )
