"""Percentiles, medians and spreads of plain numbers. Pure; knows nothing of what they measure."""

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct


class Spread(Struct, frozen=True, kw_only=True):
    """What repeated measurements of one thing gave. ``count`` 0: there were none, and the rest is 0."""

    count: int = 0
    median: float = 0.0
    low: float = 0.0
    high: float = 0.0


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` (0..1) of ``values`` lie, between neighbours by straight line.

    That is R's type 7: position ``share * (n - 1)`` in the sorted values. Raises ``ValueError`` for none.
    """
    if not values:
        raise ValueError("no values, so no percentile")
    if not 0 <= share <= 1:
        raise ValueError(f"a share is 0..1, not {share}")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    part = place - below
    return ordered[below] * (1 - part) + ordered[above] * part


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest."""
    if not values:
        return Spread()
    return Spread(count=len(values), median=percentile(values, 0.5), low=min(values), high=max(values))


def gaps(times: Sequence[float], start: float, end: float) -> list[float]:
    """Seconds between neighbours of ``times`` (ascending) that both lie in ``start..end``."""
    inside = [time for time in times if start <= time <= end]
    return [after - before for before, after in pairwise(inside)]
