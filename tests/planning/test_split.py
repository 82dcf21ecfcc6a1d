"""The cut is the best there is: compared with trying all of them."""

from itertools import combinations, pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ringcore.planning.plan import make_plan
from ringcore.planning.split import best_cut, fits, least_missing
from ringcore.spec.errors import PlanError
from ringcore.spec.units import MIB
from tests.planning.worlds import facts, hosts, model, profile


@st.composite
def clusters(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], int, int]:
    """Layer sizes, capacities, speeds, and what the first and the last stage hold besides."""
    sizes = draw(st.lists(st.integers(1, 12), min_size=1, max_size=8))
    stages = draw(st.integers(1, min(4, len(sizes))))
    capacities = draw(st.lists(st.integers(0, 60), min_size=stages, max_size=stages))
    speeds = draw(st.lists(st.integers(1, 5), min_size=stages, max_size=stages))
    return sizes, capacities, speeds, draw(st.integers(0, 9)), draw(st.integers(0, 9))


class World:
    """One cluster as the functions of `split` see it, and all its cuts."""

    def __init__(self, cluster: tuple[list[int], list[int], list[int], int, int]) -> None:
        self.sizes, self.capacities, self.speeds, self.first, self.last = cluster
        self.layers = len(self.sizes)

    def need(self, _stage: int, start: int, end: int) -> int:
        size = sum(self.sizes[start:end]) + (self.first if start == 0 else 0)
        return size + (self.last if end == self.layers else 0)

    def cost(self, stage: int, start: int, end: int) -> float:
        return self.need(stage, start, end) / self.speeds[stage]

    def cuts(self) -> list[tuple[tuple[int, int], ...]]:
        inner = combinations(range(1, self.layers), len(self.capacities) - 1)
        return [tuple(pairwise((0, *ends, self.layers))) for ends in inner]

    def holds(self, cut: tuple[tuple[int, int], ...]) -> bool:
        return all(self.need(s, *run) <= self.capacities[s] for s, run in enumerate(cut))

    def costs(self, cut: tuple[tuple[int, int], ...]) -> list[float]:
        return [self.cost(s, *run) for s, run in enumerate(cut)]


@given(clusters())
@settings(max_examples=400, deadline=None)
def test_no_cut_that_fits_has_a_smaller_worst_cost(
    cluster: tuple[list[int], list[int], list[int], int, int],
) -> None:
    world = World(cluster)
    fitting = [cut for cut in world.cuts() if world.holds(cut)]
    found = best_cut(world.layers, world.need, world.capacities, world.cost)
    assert fits(world.layers, world.need, world.capacities) == bool(fitting)
    if found is None:
        assert not fitting
        return
    assert found.runs in fitting
    best = min(max(world.costs(cut)) for cut in fitting)
    assert found.worst == max(world.costs(found.runs)) == best
    equals = [cut for cut in fitting if max(world.costs(cut)) == best]
    squares = min(sum(cost**2 for cost in world.costs(cut)) for cut in equals)
    assert abs(sum(cost**2 for cost in world.costs(found.runs)) - squares) < 1e-6


@given(clusters(), st.data())
@settings(max_examples=300, deadline=None)
def test_only_the_allowed_numbers_of_layers_are_given(
    cluster: tuple[list[int], list[int], list[int], int, int], data: st.DataObject
) -> None:
    world = World(cluster)
    counts = [
        data.draw(st.sets(st.integers(1, 4), min_size=1, max_size=2), label=f"stage {stage}")
        for stage in range(len(world.capacities))
    ]
    fitting = [
        cut
        for cut in world.cuts()
        if world.holds(cut) and all(e - s in counts[n] for n, (s, e) in enumerate(cut))
    ]
    found = best_cut(world.layers, world.need, world.capacities, world.cost, counts)
    assert fits(world.layers, world.need, world.capacities, counts) == bool(fitting)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found.runs in fitting
        assert found.worst == min(max(world.costs(cut)) for cut in fitting)


@given(clusters())
@settings(max_examples=200, deadline=None)
def test_the_closest_cut_lacks_no_more_than_any_other(
    cluster: tuple[list[int], list[int], list[int], int, int],
) -> None:
    world = World(cluster)

    def lack(cut: tuple[tuple[int, int], ...]) -> int:
        missing = (max(0, world.need(s, *run) - world.capacities[s]) for s, run in enumerate(cut))
        return sum(each**2 for each in missing)

    found = least_missing(world.layers, world.need, world.capacities)
    assert found is not None
    assert lack(found.runs) == min(lack(cut) for cut in world.cuts())


@given(
    sizes=st.lists(st.integers(20, 300), min_size=2, max_size=9),
    free=st.lists(st.integers(100, 1500), min_size=1, max_size=4),
    order=st.sampled_from(["reverse", "forward"]),
    objective=st.sampled_from(["throughput", "memory", "equal"]),
    tied=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_a_plan_is_whole_and_within_every_ceiling_or_there_is_none(
    sizes: list[int], free: list[int], order: str, objective: str, tied: bool
) -> None:
    free = free[: len(sizes)]
    card = model([size * MIB for size in sizes], tied=tied)
    ring = profile(hosts(len(free)), order=order, objective=objective)
    told = facts(*[each * MIB for each in free])
    try:
        plan = make_plan(card, ring, told, {})
    except PlanError as error:
        assert "missing" in error.failure.cause and error.failure.remedy
        return
    plan.check()
    assert sum(stage.shard.count for stage in plan.stages) == len(sizes)
    assert all(stage.free_bytes >= 0 for stage in plan.stages)
    assert all(stage.ceiling_bytes <= told[stage.rank].available_memory_bytes for stage in plan.stages)
