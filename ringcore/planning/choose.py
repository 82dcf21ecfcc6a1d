"""Which hosts are in the ring, in which order, and which layers each holds: the best for a task's objective.

``throughput`` and ``memory`` keep the worst stage small and use every host; ``latency`` keeps the sum of all
stages and hops small and leaves out hosts that only add to it. The leader is always rank 0.
"""

from collections.abc import Sequence

from msgspec import Struct

from ringcore.planning import split
from ringcore.planning.arrange import MOST_STAGES, any_order, best_order, shortest_order
from ringcore.planning.shortest import least_sum, total
from ringcore.planning.split import Cut, Runs, best_cut
from ringcore.planning.task import Task
from ringcore.spec.errors import PlanError


class Choice(Struct, frozen=True):
    """``ranks[n]``: who becomes rank n, as numbered in the task; ``runs[n]`` its layers (half-open)."""

    ranks: tuple[int, ...]
    runs: Runs


def choose(task: Task) -> Choice | None:
    """The best choice for the task's objective; None when no choice fits."""
    if task.ring.arrange and len(task.rooms) > MOST_STAGES:
        raise PlanError(
            f"{len(task.rooms)} hosts are too many to try their orders",
            "write arrange = false under [ring] and put them in order yourself",
        )
    if task.objective == "latency":
        return _shortest(task)
    if task.ring.arrange and task.counts is None:
        found = best_order(task.stages(), task.leader)
        return _choice(task, *found) if found else None
    cut = best_cut(task.stages(), task.counts)
    return _choice(task, range(len(task.rooms)), cut) if cut else None


def fits(task: Task) -> bool:
    """Whether `choose` finds anything; quicker."""
    if task.objective == "latency":
        return _shortest(task) is not None
    if task.ring.arrange and task.counts is None:
        return any_order(task.stages(), task.leader)
    return split.fits(task.stages(), task.counts)


def with_host(task: Task, rank: int) -> Choice | None:
    """The shortest way through the ring in which this host has layers, hosts in the given order."""
    found = least_sum(task.stages(), task.hops, {task.leader, task.position(rank)})
    return _choice(task, found[0], Cut(found[1], 0)) if found else None


def _shortest(task: Task) -> Choice | None:
    stages = task.stages()
    found = None
    if len(task.rooms) > 1 and task.ring.arrange:
        found = shortest_order(stages, task.hops, task.leader)
    elif len(task.rooms) > 1:
        found = least_sum(stages, task.hops, {task.leader})
    alone = task.seated((0,))
    lone = best_cut(alone.stages())
    if lone is not None and (found is None or lone.worst <= total(stages.costs, task.hops, *found)):
        return Choice((0,), lone.runs)
    return _choice(task, found[0], Cut(found[1], 0)) if found else None


def _choice(task: Task, order: Sequence[int], cut: Cut) -> Choice:
    """``order``: the stages of ``cut``, as the task numbers them."""
    seats = [(task.ranks[stage], run) for stage, run in zip(order, cut.runs, strict=True)]
    if task.ring.order == "reverse":
        seats.reverse()
    return Choice(tuple(rank for rank, _ in seats), tuple(run for _, run in seats))
