"""Cuts layers 0..L into one run a stage, in the given order of stages: the best cut, exactly.

The smallest possible worst cost of a stage is found by bisection over limits, each of which asks what ends
the stages can reach; then dynamic programming finds, among the cuts that keep to it, the one with the
smallest sum of squared costs, so that the stages which do not decide are even as well. Whole numbers only:
a comparison is never a matter of rounding.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import NamedTuple

Runs = tuple[tuple[int, int], ...]
Counts = Sequence[Collection[int]]
_NEAR = 50  # a bisection that is this close (a part of the value) asks for the very next smaller worst cost


class Line(NamedTuple):
    """What layers ``start..end`` make on one stage: ``up[end] - down[start]``. Neither falls."""

    up: Sequence[int]
    down: Sequence[int]

    def of(self, start: int, end: int) -> int:
        return self.up[end] - self.down[start]

    def furthest(self, start: int, limit: int) -> int:
        """The largest end whose value is at most ``limit``; below ``start`` when there is none."""
        return bisect_right(self.up, limit + self.down[start]) - 1

    def nearest(self, end: int, limit: int) -> int:
        """The smallest start whose value is at most ``limit``; at or past ``end`` when there is none."""
        return bisect_left(self.down, self.up[end] - limit)


class Cut(NamedTuple):
    """``ends[k]`` is where stage k's run ends and the next begins. ``worst`` is the largest cost."""

    ends: tuple[int, ...]
    worst: int

    @property
    def runs(self) -> Runs:
        return tuple(zip((0, *self.ends[:-1]), self.ends, strict=True))


class Stages(NamedTuple):
    """What stages may take of ``layers``: each ``needs`` at most its capacity, and costs something."""

    layers: int
    needs: Sequence[Line]
    capacities: Sequence[int]
    costs: Sequence[Line]

    def furthest(self, stage: int, start: int, limit: int) -> int:
        """Where a run of ``stage`` from ``start`` ends at the latest, within capacity and cost ``limit``."""
        need = self.needs[stage].furthest(start, self.capacities[stage])
        return min(need, self.costs[stage].furthest(start, limit))

    def nearest(self, stage: int, end: int, limit: int) -> int:
        need = self.needs[stage].nearest(end, self.capacities[stage])
        return max(need, self.costs[stage].nearest(end, limit))

    def worst(self, ends: Sequence[int]) -> int:
        return max(self.costs[k].of(s, e) for k, (s, e) in enumerate(Cut(tuple(ends), 0).runs))

    def loose(self) -> int:
        """A limit that no cost passes."""
        return max(cost.of(0, self.layers) for cost in self.costs)


def best_cut(stages: Stages, counts: Counts | None = None) -> Cut | None:
    """The cut with the smallest worst cost in which no stage needs more than its capacity.

    ``counts``: how many layers each stage may hold, None for any number from 1 on. None when nothing fits.
    """
    worst = _least_worst_of_counts(stages, counts) if counts is not None else _least_worst(stages)
    if worst is None:
        return None
    ends = _most_even(stages, worst, counts)
    return Cut(ends, worst)


def fits(stages: Stages, counts: Counts | None = None) -> bool:
    """Whether any cut fits."""
    if counts is not None:
        return _least_worst_of_counts(stages, counts) is not None
    return _some_cut(stages, stages.loose()) is not None


def least_missing(stages: Stages, counts: Counts | None = None) -> tuple[int, ...] | None:
    """The ends of the cut with the smallest sum of squares of what its stages lack, whether it fits or not.
    None when ``counts`` allow no cut at all."""

    def lack(stage: int, start: int, end: int) -> int:
        return max(0, stages.needs[stage].of(start, end) - stages.capacities[stage]) ** 2

    total, last = stages.layers, len(stages.needs) - 1

    def ends(stage: int, start: int) -> Iterable[int]:
        if counts is not None:
            return (start + count for count in counts[stage] if start + count <= total)
        return range(start + 1, total - (last - stage) + 1)

    return _least(total, last + 1, ends, lack, _add)


def reach(stages: Stages, stage: int, starts: Sequence[tuple[int, int]], limit: int) -> list[tuple[int, int]]:
    """Where runs of ``stage`` can end that begin at ``starts``; both are closed intervals, in order."""
    found: list[tuple[int, int]] = []
    for first, last in starts:
        start = first
        while start <= last:
            top = stages.furthest(stage, start, limit)
            if top <= start:  # this stage cannot hold the layer here
                start += 1
                continue
            low = start + 1
            while top < last and (further := stages.furthest(stage, top, limit)) > top:
                top = further
            if top >= last:
                top = max(top, stages.furthest(stage, last, limit))
            _append(found, low, top)
            start = top + 1
    return found


def _append(intervals: list[tuple[int, int]], low: int, high: int) -> None:
    if intervals and low <= intervals[-1][1] + 1:
        low, high = intervals[-1][0], max(high, intervals[-1][1])
        intervals.pop()
    intervals.append((low, high))


def _some_cut(stages: Stages, limit: int) -> tuple[int, ...] | None:
    """Ends of a cut that keeps to capacities and ``limit``."""
    total, count = stages.layers, len(stages.needs)
    reached = [[(0, 0)]]
    for stage in range(count):
        reached.append(reach(stages, stage, reached[-1], limit))
    if not any(low <= total <= high for low, high in reached[-1]):
        return None
    ends = [total]
    for stage in range(count - 1, 0, -1):
        least = stages.nearest(stage, ends[-1], limit)
        ends.append(next(max(low, least) for low, high in reached[stage] if high >= least))
    return tuple(reversed(ends))


def _least_worst(stages: Stages) -> int | None:
    ends = _some_cut(stages, stages.loose())
    if ends is None:
        return None
    low, high = -1, stages.worst(ends)
    while high - low > 1:
        near = (high - low) * _NEAR < high
        for limit in (high - 1, (low + high) // 2) if near else ((low + high) // 2,):
            if not low < limit < high:
                continue
            ends = _some_cut(stages, limit)
            if ends is None:
                low = limit
            else:
                high = stages.worst(ends)
    return high


def _least_worst_of_counts(stages: Stages, counts: Counts) -> int | None:
    loose = stages.loose()

    def ends(stage: int, start: int) -> Iterable[int]:
        top = stages.furthest(stage, start, loose)
        return (start + count for count in counts[stage] if start + count <= top)

    def cost(stage: int, start: int, end: int) -> int:
        return stages.costs[stage].of(start, end)

    found = _least(stages.layers, len(stages.needs), ends, cost, max)
    return None if found is None else stages.worst(found)


def _most_even(stages: Stages, limit: int, counts: Counts | None) -> tuple[int, ...]:
    total, count = stages.layers, len(stages.needs)
    # Where a run must end at least, that the stages behind it can hold the rest.
    least = [total] * count
    for stage in range(count - 1, 0, -1):
        least[stage - 1] = stages.nearest(stage, least[stage], limit)

    def ends(stage: int, start: int) -> Iterable[int]:
        top = min(stages.furthest(stage, start, limit), total - (count - 1 - stage))
        low = max(start + 1, least[stage])
        if counts is None:
            return range(low, top + 1)
        return (end for end in (start + each for each in counts[stage]) if low <= end <= top)

    found = _least(total, count, ends, lambda k, s, e: stages.costs[k].of(s, e) ** 2, _add)
    assert found is not None, "the limit was reached by a cut"
    return found


def _least(
    layers: int,
    stages: int,
    ends: Callable[[int, int], Iterable[int]],
    cost: Callable[[int, int, int], int],
    together: Callable[[int, int], int],
) -> tuple[int, ...] | None:
    """Ends of the cut whose costs, put ``together`` from the first stage on, are smallest."""
    values: dict[int, int] = {0: 0}
    choices: list[dict[int, int]] = []
    for stage in range(stages):
        following: dict[int, int] = {}
        chosen: dict[int, int] = {}
        for start, before in values.items():
            for end in ends(stage, start):
                value = together(before, cost(stage, start, end))
                best = following.get(end)
                if best is None or value < best:
                    following[end], chosen[end] = value, start
        values = following
        choices.append(chosen)
    if layers not in values:
        return None
    found = [layers]
    for chosen in reversed(choices[1:]):
        found.append(chosen[found[-1]])
    return tuple(reversed(found))


def _add(one: int, other: int) -> int:
    return one + other
