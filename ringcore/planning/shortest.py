"""The cut with the smallest sum of costs, leaving out stages that only add to it: exactly.

A stage that is used costs what its layers cost and a hop. Costs are differences of two rising lines, so the
best start for an end is the smallest value in a window that only moves on: time grows as stages times layers.
"""

from collections import deque
from collections.abc import Collection, Sequence

from ringcore.planning.split import Line, Stages

Values = list[int | None]


def least_sum(
    stages: Stages, hops: Sequence[int], always: Collection[int]
) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """(stages that are used, their ends), in the given order, or None when nothing fits.

    Stages ``always`` are used whatever they add.
    """
    values: Values = [0] + [None] * stages.layers
    choices: list[list[int | None]] = []
    for stage in range(len(stages.needs)):
        taken, starts = take(stages, stage, hops[stage], values)
        if stage not in always:
            for end, skipped in enumerate(values):
                best = taken[end]
                if skipped is not None and (best is None or skipped <= best):
                    taken[end], starts[end] = skipped, None
        values = taken
        choices.append(starts)
    if values[stages.layers] is None:
        return None
    used: list[int] = []
    ends: list[int] = []
    at = stages.layers
    for stage in range(len(choices) - 1, -1, -1):
        start = choices[stage][at]
        if start is not None:
            used.append(stage)
            ends.append(at)
            at = start
    return tuple(reversed(used)), tuple(reversed(ends))


def take(stages: Stages, stage: int, hop: int, values: Values) -> tuple[Values, list[int | None]]:
    """For each end: the smallest sum when ``stage`` holds a run up to there behind ``values``, and where
    that run starts."""
    need, cost = stages.needs[stage], stages.costs[stage]
    found: Values = [None] * (stages.layers + 1)
    chosen: list[int | None] = [None] * (stages.layers + 1)
    window: deque[tuple[int, int]] = deque()  # (value, start), values rising
    for end in range(1, stages.layers + 1):
        before = values[end - 1]
        if before is not None:
            value = before - cost.down[end - 1]
            while window and window[-1][0] >= value:
                window.pop()
            window.append((value, end - 1))
        least = need.nearest(end, stages.capacities[stage])
        while window and window[0][1] < least:
            window.popleft()
        if window:
            found[end] = window[0][0] + cost.up[end] + hop
            chosen[end] = window[0][1]
    return found, chosen


def total(costs: Sequence[Line], hops: Sequence[int], used: Sequence[int], ends: Sequence[int]) -> int:
    """What such a cut costs; a stage that is alone has no hop."""
    starts = (0, *ends[:-1])
    size = sum(costs[stage].of(*run) for stage, run in zip(used, zip(starts, ends, strict=True), strict=True))
    return size + (sum(hops[stage] for stage in used) if len(used) > 1 else 0)
