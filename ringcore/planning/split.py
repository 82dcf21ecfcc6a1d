"""Cuts layers 0..L into one run a stage, in the given order of stages: the best cut, exactly.

Two passes of dynamic programming over (stage, end of its run): the first finds the smallest possible
worst cost of a stage, the second the cut with the smallest sum of squared costs among those that reach
it, so that the stages which do not decide are even as well. Knows numbers only.
"""

from collections.abc import Callable, Collection, Sequence
from functools import partial
from math import inf
from typing import NamedTuple

# (stage, start, end) -> value. Must not fall when a run grows.
Measure = Callable[[int, int, int], float]


class Cut(NamedTuple):
    """``ends[k]`` is where stage k's run ends and the next begins. ``worst`` is the largest cost."""

    ends: tuple[int, ...]
    worst: float

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        return tuple(zip((0, *self.ends[:-1]), self.ends, strict=True))


def best_cut(
    layers: int,
    need: Measure,
    capacities: Sequence[float],
    cost: Measure,
    counts: Sequence[Collection[int]] | None = None,
) -> Cut | None:
    """The cut with the smallest worst cost in which no stage needs more than its capacity.

    ``counts``: how many layers each stage may hold, None for any number from 1 on. None when nothing fits.
    """
    allowed = _allowed(need, capacities, counts)
    ends = _optimum(layers, len(capacities), cost, allowed, max)
    if ends is None:
        return None
    worst = max(cost(stage, start, end) for stage, (start, end) in enumerate(Cut(ends, 0).runs))

    def within(stage: int, start: int, end: int) -> bool:
        return cost(stage, start, end) <= worst and allowed(stage, start, end)

    def squared(stage: int, start: int, end: int) -> float:
        return cost(stage, start, end) ** 2

    even = _optimum(layers, len(capacities), squared, within, _add)
    assert even is not None
    return Cut(even, worst)


def least_missing(
    layers: int, need: Measure, capacities: Sequence[float], counts: Sequence[Collection[int]] | None = None
) -> Cut | None:
    """The cut with the smallest sum of squares of what its stages lack, whether it fits or not; ``worst`` is
    the largest lack. None when ``counts`` allow no cut at all."""

    def missing(stage: int, start: int, end: int) -> float:
        return max(0.0, need(stage, start, end) - capacities[stage])

    def squared(stage: int, start: int, end: int) -> float:
        return missing(stage, start, end) ** 2

    allowed = _allowed(need, [inf] * len(capacities), counts)
    ends = _optimum(layers, len(capacities), squared, allowed, _add)
    if ends is None:
        return None
    return Cut(ends, max(missing(stage, *run) for stage, run in enumerate(Cut(ends, 0).runs)))


def fits(
    layers: int, need: Measure, capacities: Sequence[float], counts: Sequence[Collection[int]] | None = None
) -> bool:
    """Whether any cut fits, in time proportional to stages times layers."""
    reachable = {0}
    for stage, capacity in enumerate(capacities):
        if counts is None:
            reachable = _ends(layers, partial(need, stage), capacity, reachable)
        else:
            ends = ((start, start + count) for start in reachable for count in counts[stage])
            reachable = {e for s, e in ends if s < e <= layers and need(stage, s, e) <= capacity}
    return layers in reachable


def _ends(
    layers: int, need: Callable[[int, int], float], capacity: float, starts: Collection[int]
) -> set[int]:
    """Where a run that starts at one of ``starts`` can end."""
    ends: set[int] = set()
    top = end = 0
    for start in sorted(starts):
        # Needs fall when a run starts later, so the furthest end never comes nearer.
        end = max(end, start)
        while end < layers and need(start, end + 1) <= capacity:
            end += 1
        ends.update(range(max(start, top) + 1, end + 1))
        top = max(top, end)
    return ends


def _allowed(
    need: Measure,
    capacities: Sequence[float],
    counts: Sequence[Collection[int]] | None,
) -> Callable[[int, int, int], bool]:
    def allowed(stage: int, start: int, end: int) -> bool:
        return need(stage, start, end) <= capacities[stage]

    if counts is None:
        return allowed
    sets = [frozenset(each) for each in counts]
    return lambda stage, start, end: end - start in sets[stage] and allowed(stage, start, end)


def _optimum(
    layers: int,
    stages: int,
    cost: Measure,
    allowed: Callable[[int, int, int], bool],
    together: Callable[[float, float], float],
) -> tuple[int, ...] | None:
    """Ends of the cut whose costs, put ``together`` from the first stage on, are smallest."""
    values: list[float | None] = [0.0] + [None] * layers
    choices: list[list[int]] = []
    for stage in range(stages):
        following: list[float | None] = [None] * (layers + 1)
        chosen = [0] * (layers + 1)
        for end in range(stage + 1, layers - (stages - 1 - stage) + 1):
            for start in range(end - 1, stage - 1, -1):
                before, best = values[start], following[end]
                if before is None:
                    continue
                here = cost(stage, start, end)
                if best is not None and here >= best:
                    break  # costs only grow as the run does
                if not allowed(stage, start, end):
                    continue
                value = together(before, here)
                if best is None or value < best:
                    following[end], chosen[end] = value, start
        values = following
        choices.append(chosen)
    if values[layers] is None:
        return None
    ends = [layers]
    for chosen in reversed(choices[1:]):
        ends.append(chosen[ends[-1]])
    return tuple(reversed(ends))


def _add(one: float, other: float) -> float:
    return one + other
