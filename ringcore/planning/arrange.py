"""The best order of stages, exactly: dynamic programming over sets of stages in place of all their orders.

``fixed`` is the stage that keeps its place: the last one or the first. Among orders that are equally good the
one nearest to the given order is taken, stage by stage.
"""

from collections.abc import Sequence
from itertools import combinations

from ringcore.planning.shortest import Values, take
from ringcore.planning.split import Cut, Stages, best_cut, reach

MOST_STAGES = 10  # sets double with each stage
_Intervals = list[tuple[int, int]]


def best_order(stages: Stages, fixed: int) -> tuple[tuple[int, ...], Cut] | None:
    """All stages in the order whose best cut has the smallest worst cost, and that cut."""
    search = _Search(stages, fixed)
    given = tuple(range(len(stages.needs)))
    limit = search.least_worst()
    if limit is None:
        return None
    order = search.first_order(given, limit)
    cut = best_cut(pick(stages, order))
    assert cut is not None and cut.worst == limit, "the limit was reached in this order"
    return order, cut


def any_order(stages: Stages, fixed: int) -> bool:
    """Whether all stages hold the layers in some order."""
    return _Search(stages, fixed).possible(stages.loose())


def pick(stages: Stages, order: Sequence[int]) -> Stages:
    """Only these stages, in this order."""
    return Stages(
        stages.layers,
        [stages.needs[stage] for stage in order],
        [stages.capacities[stage] for stage in order],
        [stages.costs[stage] for stage in order],
    )


class _Search:
    def __init__(self, stages: Stages, fixed: int) -> None:
        self.stages = stages
        self.fixed = fixed
        self.others = tuple(stage for stage in range(len(stages.needs)) if stage != fixed)

    def least_worst(self) -> int | None:
        given = best_cut(self.stages)
        high = given.worst if given else self.stages.loose()
        if given is None and not self.possible(high):
            return None
        low = -1
        while high - low > 1:
            middle = (low + high) // 2
            if self.possible(middle):
                high = middle
            else:
                low = middle
        return high

    def possible(self, limit: int, done: Sequence[int] = ()) -> bool:
        """Whether some order keeps to ``limit`` that begins with ``done``."""
        starts: _Intervals = [(0, 0)]
        for stage in done:
            starts = reach(self.stages, stage, starts, limit)
        left = [stage for stage in self.others if stage not in done]
        leading = self.fixed == 0 and self.fixed not in done
        if leading:
            starts = reach(self.stages, self.fixed, starts, limit)
        reached: dict[frozenset[int], _Intervals] = {frozenset(): starts}
        for size in range(1, len(left) + 1):
            for chosen in combinations(left, size):
                group = frozenset(chosen)
                found: _Intervals = []
                for stage in chosen:
                    found += reach(self.stages, stage, reached[group - {stage}], limit)
                reached[group] = _merged(found)
        ends = reached[frozenset(left)]
        if not leading and self.fixed not in done:
            ends = reach(self.stages, self.fixed, ends, limit)
        return any(low <= self.stages.layers <= high for low, high in ends)

    def first_order(self, given: Sequence[int], limit: int) -> tuple[int, ...]:
        done: list[int] = [self.fixed] if self.fixed == 0 else []
        while len(done) < len(self.others) + (self.fixed == 0):
            left = [stage for stage in given if stage not in done and stage != self.fixed]
            done.append(next(stage for stage in left if self.possible(limit, [*done, stage])))
        return tuple(done) if self.fixed == 0 else (*done, self.fixed)


def shortest_order(
    stages: Stages, hops: Sequence[int], fixed: int
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(stages that are used in their order, their ends) with the smallest sum of costs and hops."""
    others = [stage for stage in range(len(stages.needs)) if stage != fixed]
    first: Values = [0] + [None] * stages.layers
    origin: list[int | None] = []
    if fixed == 0:
        first, origin = take(stages, fixed, hops[fixed], first)
    values: dict[frozenset[int], Values] = {frozenset(): first}
    choices: dict[frozenset[int], list[tuple[int, int] | None]] = {}
    best: tuple[int, frozenset[int], int | None] | None = None
    for size in range(len(others) + 1):
        for chosen in combinations(others, size):
            group = frozenset(chosen)
            if size:
                values[group], choices[group] = _extend(stages, hops, values, chosen)
            whole, start = values[group][stages.layers], None
            if fixed != 0:
                taken, starts = take(stages, fixed, hops[fixed], values[group])
                whole, start = taken[stages.layers], starts[stages.layers]
            if whole is not None and (best is None or whole < best[0]):
                best = whole, group, start
    if best is None:
        return None
    _, group, start = best
    used: list[int] = []
    ends: list[int] = []
    at = stages.layers
    if fixed != 0:
        assert start is not None
        used, ends, at = [fixed], [at], start
    while group:
        choice = choices[group][at]
        assert choice is not None
        used.append(choice[0])
        ends.append(at)
        group, at = group - {choice[0]}, choice[1]
    if fixed == 0:
        assert origin[at] == 0
        used.append(fixed)
        ends.append(at)
    return tuple(reversed(used)), tuple(reversed(ends))


def _extend(
    stages: Stages, hops: Sequence[int], values: dict[frozenset[int], Values], chosen: Sequence[int]
) -> tuple[Values, list[tuple[int, int] | None]]:
    """The best sums that use just the stages ``chosen``, and for each end (last stage, its start)."""
    group = frozenset(chosen)
    best: Values = [None] * (stages.layers + 1)
    choice: list[tuple[int, int] | None] = [None] * (stages.layers + 1)
    for stage in chosen:
        taken, starts = take(stages, stage, hops[stage], values[group - {stage}])
        for end, value in enumerate(taken):
            known, start = best[end], starts[end]
            if value is not None and start is not None and (known is None or value < known):
                best[end], choice[end] = value, (stage, start)
    return best, choice


def _merged(intervals: _Intervals) -> _Intervals:
    found: _Intervals = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(high, found[-1][1]))
        else:
            found.append((low, high))
    return found
