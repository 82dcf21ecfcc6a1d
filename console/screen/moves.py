"""Which ranks are at work: those whose step counter moved just now. Knows no widget and starts no timer."""

from collections.abc import Callable

from console.state import ClusterState

WORK_SECONDS = 0.6  # counters come four times a second while they move


class Moves:
    """``clock`` counts seconds and never goes back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._moved: dict[int, float] = {}

    def take(self, before: ClusterState, after: ClusterState) -> None:
        """Note whose counter went up between two pictures of the same hosts."""
        for old, new in zip(before.hosts, after.hosts, strict=True):
            if new.steps > old.steps:
                self._moved[new.rank] = self._clock()

    def working(self, state: ClusterState) -> frozenset[int]:
        now = self._clock()
        moved = {rank for rank, at in self._moved.items() if now - at < WORK_SECONDS}
        able = {host.rank for host in state.hosts if host.phase == "ready" and not host.lost}
        return frozenset(moved & able)
