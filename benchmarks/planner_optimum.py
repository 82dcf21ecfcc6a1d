"""How often the planner's searches find the optimum: random small clusters, compared with trying everything.

Knows only `ringcore.planning`'s searches and plain numbers.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, permutations

from ringcore.planning.arrange import best_order, pick, shortest_order
from ringcore.planning.shortest import least_sum, total
from ringcore.planning.split import Line, Stages, best_cut

Ends = tuple[int, ...]


def rates(clusters: int, seed: int) -> dict[str, dict[str, int]]:
    """For each search: clusters, those of them in which anything fits, and those where it found the best."""
    rng = random.Random(seed)
    found = {name: {"clusters": 0, "fit": 0, "optimal": 0} for name in _SEARCHES}
    for _ in range(clusters):
        stages, hops = _cluster(rng)
        for name, (ours, best) in _answers(stages, hops).items():
            found[name]["clusters"] += 1
            found[name]["fit"] += best is not None
            found[name]["optimal"] += ours == best
    return found


_SEARCHES = (
    "slowest stage, order given",
    "slowest stage, best order",
    "sum of stages and hops, order given, hosts left out",
    "sum of stages and hops, best order, hosts left out",
)


def _cluster(rng: random.Random) -> tuple[Stages, list[int]]:
    layers = rng.randint(1, 8)
    count = rng.randint(1, min(4, layers))
    sums = [0]
    for _ in range(layers):
        sums.append(sums[-1] + rng.randint(1, 12))
    up = [*sums[:-1], sums[-1] + rng.randint(0, 9)]
    down = [-rng.randint(0, 9), *sums[1:]]
    needs = [Line(up, down)] * count
    slow = [rng.randint(1, 5) for _ in range(count)]
    costs = [Line([each * k for each in up], [each * k for each in sums]) for k in slow]
    capacities = [rng.randint(0, 60) for _ in range(count)]
    return Stages(layers, needs, capacities, costs), [rng.randint(0, 20) for _ in range(count)]


def _answers(stages: Stages, hops: Sequence[int]) -> dict[str, tuple[int | None, int | None]]:
    """Ours and the best there is; None where nothing fits. The last stage is the leader's."""
    last = len(stages.needs) - 1
    orders = [(*order, last) for order in permutations(range(last))]
    parts = [order[at:] for order in orders for at in range(len(order))]
    in_order = [part for part in set(parts) if list(part) == sorted(part)]
    cut, arranged = best_cut(stages), best_order(stages, last)
    shortest, free = least_sum(stages, hops, {last}), shortest_order(stages, hops, last)
    return dict(
        zip(
            _SEARCHES,
            (
                (cut.worst if cut else None, _least_worst(stages, [tuple(range(last + 1))])),
                (arranged[1].worst if arranged else None, _least_worst(stages, orders)),
                (_sum(stages, hops, shortest), _least_sum(stages, hops, in_order)),
                (_sum(stages, hops, free), _least_sum(stages, hops, parts)),
            ),
            strict=True,
        )
    )


def _sum(stages: Stages, hops: Sequence[int], found: tuple[Ends, Ends] | None) -> int | None:
    """As the search counts: every stage that is used has its hop."""
    if found is None:
        return None
    used, ends = found
    alone = hops[used[0]] if len(used) == 1 else 0
    return total(stages.costs, hops, used, ends) + alone


def _fitting(stages: Stages, order: Sequence[int]) -> Iterator[list[int]]:
    """The costs of every cut of these stages that fits."""
    picked = pick(stages, order)
    for inner in combinations(range(1, stages.layers), len(order) - 1):
        runs = list(pairwise((0, *inner, stages.layers)))
        if all(picked.needs[n].of(*run) <= picked.capacities[n] for n, run in enumerate(runs)):
            yield [picked.costs[n].of(*run) for n, run in enumerate(runs)]


def _least_worst(stages: Stages, orders: Sequence[Sequence[int]]) -> int | None:
    return min((max(costs) for order in orders for costs in _fitting(stages, order)), default=None)


def _least_sum(stages: Stages, hops: Sequence[int], orders: Sequence[Sequence[int]]) -> int | None:
    sums = (
        sum(costs) + sum(hops[stage] for stage in order)
        for order in orders
        for costs in _fitting(stages, order)
    )
    return min(sums, default=None)
