"""The cut is the best there is: compared with trying all of them, orders and subsets of hosts included."""

import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ringcore.planning.arrange import any_order, best_order, pick, shortest_order
from ringcore.planning.plan import make_plan
from ringcore.planning.shortest import least_sum
from ringcore.planning.split import Cut, Line, Stages, best_cut, fits, least_missing
from ringcore.spec.errors import PlanError
from ringcore.spec.units import GIB, MIB
from tests.planning.clusters import Cluster, clusters
from tests.planning.worlds import facts, hosts, model, profile


@given(clusters())
@settings(max_examples=150, deadline=None)
def test_no_cut_that_fits_has_a_smaller_worst_cost(world: Cluster) -> None:
    order = range(len(world.capacities))
    fitting = world.fitting(order)
    found = best_cut(world.stages())
    assert fits(world.stages()) == bool(fitting)
    if found is None:
        assert not fitting
        return
    assert found.runs in fitting
    best = min(max(world.costs(order, runs)) for runs in fitting)
    assert found.worst == max(world.costs(order, found.runs)) == best
    equals = [runs for runs in fitting if max(world.costs(order, runs)) == best]
    squares = min(sum(cost**2 for cost in world.costs(order, runs)) for runs in equals)
    assert sum(cost**2 for cost in world.costs(order, found.runs)) == squares


@given(clusters(), st.data())
@settings(max_examples=300, deadline=None)
def test_only_the_allowed_numbers_of_layers_are_given(world: Cluster, data: st.DataObject) -> None:
    order = range(len(world.capacities))
    counts = [
        data.draw(st.sets(st.integers(1, 4), min_size=1, max_size=2), label=f"stage {stage}")
        for stage in order
    ]
    fitting = [
        runs for runs in world.fitting(order) if all(e - s in counts[n] for n, (s, e) in enumerate(runs))
    ]
    found = best_cut(world.stages(), counts)
    assert fits(world.stages(), counts) == bool(fitting)
    assert (found is None) == (not fitting)
    if found is not None:
        assert found.runs in fitting
        assert found.worst == min(max(world.costs(order, runs)) for runs in fitting)


@given(clusters())
@settings(max_examples=200, deadline=None)
def test_the_closest_cut_lacks_no_more_than_any_other(world: Cluster) -> None:
    def lack(runs: tuple[tuple[int, int], ...]) -> int:
        missing = (max(0, world.need(*run) - world.capacities[s]) for s, run in enumerate(runs))
        return sum(each**2 for each in missing)

    ends = least_missing(world.stages())
    assert ends is not None
    assert lack(Cut(ends, 0).runs) == min(lack(runs) for runs in world.cuts(len(world.capacities)))


@given(clusters(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_choice_of_hosts_has_a_smaller_sum_of_costs_and_hops(world: Cluster, first: bool) -> None:
    leader = 0 if first else len(world.capacities) - 1
    best = world.best_sum(world.subsets(leader))
    found = least_sum(world.stages(), world.hops, {leader})
    assert (found is None) == (best is None)
    if found is not None:
        used, ends = found
        assert leader in used and world.holds(used, Cut(ends, 0).runs)
        assert world.sum_of(used, Cut(ends, 0).runs) == best


@given(clusters(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_order_of_the_hosts_has_a_smaller_worst_cost(world: Cluster, first: bool) -> None:
    fixed = 0 if first else len(world.capacities) - 1
    costs = [max(world.costs(order, runs)) for order in world.orders(fixed) for runs in world.fitting(order)]
    found = best_order(world.stages(), fixed)
    assert any_order(world.stages(), fixed) == bool(costs)
    assert (found is None) == (not costs)
    if found is not None:
        order, cut = found
        assert order in world.orders(fixed) and cut.runs in world.fitting(order)
        assert max(world.costs(order, cut.runs)) == cut.worst == min(costs)
        given_order = best_cut(world.stages())
        if given_order is not None and given_order.worst == cut.worst:
            assert order == tuple(range(len(order))), "an order that is no better is not changed"


@given(clusters(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_no_order_and_choice_of_the_hosts_has_a_smaller_sum(world: Cluster, first: bool) -> None:
    fixed = 0 if first else len(world.capacities) - 1
    every = {
        order[: order.index(fixed) + 1] if fixed else order[:size]
        for whole in world.orders(fixed)
        for size in range(1, len(whole) + 1)
        for order in [whole if fixed == 0 else whole[len(whole) - size :]]
    }
    best = world.best_sum(sorted(every))
    found = shortest_order(world.stages(), world.hops, fixed)
    assert (found is None) == (best is None)
    if found is not None:
        used, ends = found
        assert used in every and world.holds(used, Cut(ends, 0).runs)
        assert world.sum_of(used, Cut(ends, 0).runs) == best


@pytest.mark.slow
@pytest.mark.parametrize(
    ("check", "more"),
    [
        (test_no_cut_that_fits_has_a_smaller_worst_cost, ()),
        (test_no_choice_of_hosts_has_a_smaller_sum_of_costs_and_hops, (st.booleans(),)),
        (test_no_order_of_the_hosts_has_a_smaller_worst_cost, (st.booleans(),)),
        (test_no_order_and_choice_of_the_hosts_has_a_smaller_sum, (st.booleans(),)),
    ],
    ids=["slowest stage", "sum", "order", "order and sum"],
)
def test_none_of_thousands_of_clusters_has_a_better_answer(check: Any, more: tuple[Any, ...]) -> None:
    @settings(max_examples=2000, deadline=None)
    @given(st.tuples(clusters(), *more))
    def thousands(values: tuple[Any, ...]) -> None:
        check.hypothesis.inner_test(*values)

    thousands()


@given(
    sizes=st.lists(st.integers(20, 300), min_size=2, max_size=9),
    free=st.lists(st.integers(100, 1500), min_size=1, max_size=4),
    order=st.sampled_from(["reverse", "forward"]),
    objective=st.sampled_from(["throughput", "latency", "memory", "equal"]),
    arrange=st.booleans(),
    tied=st.booleans(),
)
@settings(max_examples=300, deadline=None)
def test_a_plan_is_whole_and_within_every_ceiling_or_there_is_none(
    sizes: list[int], free: list[int], order: str, objective: str, arrange: bool, tied: bool
) -> None:
    free = free[: len(sizes)]
    card = model([size * MIB for size in sizes], tied=tied)
    ring = profile(hosts(len(free)), order=order, objective=objective, arrange=arrange)
    told = facts(*[each * MIB for each in free])
    try:
        plan = make_plan(card, ring, told, {})
    except PlanError as error:
        assert "missing" in error.failure.cause and error.failure.remedy
        return
    plan.check()
    by_name = {fact.host: fact for fact in told}
    assert plan.stages[0].host == "h0", "the leader stays rank 0"
    assert sum(stage.shard.count for stage in plan.stages) == len(sizes)
    assert all(stage.free_bytes >= 0 for stage in plan.stages)
    assert all(stage.ceiling_bytes <= by_name[stage.host].available_memory_bytes for stage in plan.stages)


def large(seed: int) -> Stages:
    """64 stages of random speed and room for 256 layers of random sizes; it fits with little to spare."""
    rng = random.Random(seed)
    sizes = [rng.randint(80, 120) for _ in range(256)]
    sums = [sum(sizes[:n]) for n in range(257)]
    need = Line([*sums[:-1], sums[-1] + 300], [-300, *sums[1:]])
    capacities = [rng.randint(350, 1600) for _ in range(64)]
    costs = []
    for _ in range(64):
        slow = rng.randint(10_000_000, 80_000_000)
        costs.append(Line([each * slow for each in need.up], [each * slow for each in sums]))
    return Stages(256, [need] * 64, capacities, costs)


@pytest.mark.parametrize("seed", range(3))
def test_256_layers_on_64_hosts_are_cut_in_a_tenth_of_a_second(seed: int) -> None:
    stages = large(seed)
    took: list[float] = []
    for act in (
        lambda: best_cut(stages),
        lambda: least_sum(stages, [1] * 64, {63}),
    ):
        times = []
        for _ in range(3):
            began = time.process_time()
            assert act() is not None
            times.append(time.process_time() - began)
        took.append(min(times))
    assert max(took) < 0.1, took


@pytest.mark.parametrize("objective", ["throughput", "latency", "memory", "equal"])
def test_a_whole_plan_of_256_layers_on_64_hosts_takes_a_tenth_of_a_second(objective: str) -> None:
    card = model([(90 + n % 7) * MIB for n in range(256)])
    told = [fact for n in range(64) for fact in facts(8 * GIB, chip=f"Apple {('M1', 'M2', 'M4')[n % 3]}")]
    ring = profile(hosts(64), objective=objective)
    times = []
    for _ in range(3):
        began = time.process_time()
        make_plan(card, ring, told, {})
        times.append(time.process_time() - began)
    assert min(times) < 0.1, times


def test_picked_stages_keep_their_own_needs_and_costs() -> None:
    stages = large(1)
    picked = pick(stages, (5, 2))
    assert picked.capacities == [stages.capacities[5], stages.capacities[2]]
    assert picked.costs == [stages.costs[5], stages.costs[2]]
