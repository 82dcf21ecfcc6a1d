"""Which hosts are in the ring, in which order, and which layers each holds: the best for a task's objective.

``throughput`` and ``memory`` keep the worst stage small and use every host; ``latency`` keeps the sum of all
stages and hops small and leaves out hosts that only add to it. The leader is always rank 0.
"""

from collections.abc import Sequence

from msgspec import Struct

from ringcore.planning import split
from ringcore.planning.arrange import MOST_STAGES, any_order, best_order, shortest_order
from ringcore.planning.evaluate import weigh
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
    """Whoever is left out leaves its part of a machine to the others, so they are asked again without it.

    Ranks on one machine are tried together, and the first of each alone; nothing between the two."""
    tried = [choice for choice in (_first_of_each(task), _settled(task)) if choice is not None]
    return max(tried, key=lambda choice: _alone(task, choice), default=None)


def _settled(task: Task) -> Choice | None:
    choice = _least(task)
    if choice is None or len(choice.ranks) == len(task.rooms):
        return choice
    return _among(task, sorted(choice.ranks)) or choice


def _first_of_each(task: Task) -> Choice | None:
    """With one rank in each pool of memory."""
    if task.ground is None:
        return None
    first: dict[str, int] = {}
    for rank, place in enumerate(task.places):
        first.setdefault(task.ground.pools[place], rank)
    return _among(task, list(first.values())) if len(first) < len(task.rooms) else None


def _among(task: Task, ranks: Sequence[int]) -> Choice | None:
    found = _settled(task.seated(ranks))
    return Choice(tuple(ranks[rank] for rank in found.ranks), found.runs) if found else None


def _alone(task: Task, choice: Choice) -> float:
    """Tokens a second of one conversation."""
    return weigh(task.needs, task.seated(choice.ranks).seats(), choice.runs).rates.alone


def _least(task: Task) -> Choice | None:
    stages = task.stages()
    found = None
    if len(task.rooms) > 1 and task.ring.arrange:
        found = shortest_order(stages, task.hops, task.leader)
    elif len(task.rooms) > 1:
        found = least_sum(stages, task.hops, {task.leader})
    lone = best_cut(task.seated((0,)).stages())
    if lone is not None and (found is None or lone.worst <= total(stages.costs, task.hops, *found)):
        return Choice((0,), lone.runs)
    return _choice(task, found[0], Cut(found[1], 0)) if found else None


def _choice(task: Task, order: Sequence[int], cut: Cut) -> Choice:
    """``order``: the stages of ``cut``, as the task numbers them."""
    seats = [(task.ranks[stage], run) for stage, run in zip(order, cut.runs, strict=True)]
    if task.ring.order == "reverse":
        seats.reverse()
    return Choice(tuple(rank for rank, _ in seats), tuple(run for _, run in seats))
