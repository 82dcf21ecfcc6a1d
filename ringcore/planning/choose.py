"""Which hosts are in the ring, in which order, and which layers each holds: the best for a task's objective.

``throughput`` and ``memory`` keep the worst stage small and use every host; ``latency`` keeps the sum of all
stages and hops small and leaves out hosts that only add to it. The leader is always rank 0. Where two
ranks can share the head, layers are also cut without it, and the better of both is taken.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct, structs

from ringcore.planning import split
from ringcore.planning.arrange import MOST_STAGES, any_order, best_order, shortest_order
from ringcore.planning.evaluate import Evaluation, runs_of, sharing, weigh
from ringcore.planning.head import better, may_share
from ringcore.planning.shortest import least_sum, total
from ringcore.planning.split import Cut, Runs, best_cut
from ringcore.planning.task import Task
from ringcore.spec.errors import PlanError


class Choice(Struct, frozen=True):
    """``ranks[n]``: who becomes rank n, as numbered in the task; ``runs[n]`` its layers (half-open).
    ``head_rows`` as a plan has them."""

    ranks: tuple[int, ...]
    runs: Runs
    head_rows: int = 0


def choose(task: Task) -> Choice | None:
    """The best choice for the task's objective; None when no choice fits."""
    if task.ring.arrange and len(task.rooms) > MOST_STAGES:
        raise PlanError(
            f"{len(task.rooms)} hosts are too many to try their orders",
            "write arrange = false under [ring] and put them in order yourself",
        )
    if task.objective == "latency":
        return _shortest(task)
    last = _cut(task)
    if last is None or not _may_share(task, len(task.rooms)):
        return last
    bare = _cut(task, head=False)
    assert bare is not None, "what fits does not depend on who computes the head"
    return _better(task, last, bare)


def by_hand(task: Task, layers: Sequence[int]) -> Choice:
    """These layers for the hosts in their order, whether they fit or not."""
    choice = Choice(tuple(range(len(layers))), tuple(runs_of(layers, task.ring.order)))
    return _better(task.asking(layers=tuple(layers)), choice, choice)


def evaluation(task: Task, choice: Choice) -> Evaluation:
    """What the hosts of ``choice`` need and reach."""
    return weigh(task.needs, task.seated(choice.ranks).seats(), choice.runs, choice.head_rows)


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
    choice = _choice(task, found[0], Cut(found[1], 0)) if found else None
    return _with_one_other(task, choice, [rank]) if choice and len(choice.ranks) == 2 else choice


def _cut(task: Task, *, head: bool = True) -> Choice | None:
    """All hosts; ``head``: counted to the last layer."""
    stages = task.stages(head=head)
    if task.ring.arrange and task.counts is None:
        found = best_order(stages, task.leader)
        return _choice(task, *found) if found else None
    cut = best_cut(stages, task.counts)
    return _choice(task, range(len(task.rooms)), cut) if cut else None


def _may_share(task: Task, ranks: int) -> bool:
    return task.ring.may_share_head and may_share(task.needs.card, task.needs.sequences, ranks)


def _better(task: Task, last: Choice, bare: Choice) -> Choice:
    """``last``, in which the last stage has the head, or ``bare`` with the head shared."""
    if not _may_share(task, len(bare.ranks)):
        return last
    seats, alone = task.seated(bare.ranks).seats(), task.objective == "latency"
    shared = sharing(task.needs, seats, bare.runs, alone=alone)
    if shared is None or not better(task.objective, shared.rates, evaluation(task, last).rates):
        return last
    return structs.replace(bare, head_rows=shared.head_rows)


def _with_one_other(task: Task, choice: Choice, others: Iterable[int]) -> Choice:
    """``choice``, or the leader and one of the ``others`` with the head shared, where the way is shorter."""
    if not _may_share(task, 2):
        return choice
    for rank in others:
        pair = task.seated((0, rank))
        found = least_sum(pair.stages(head=False), pair.hops, {0, 1})
        if found is not None:
            runs = _choice(pair, found[0], Cut(found[1], 0)).runs
            choice = _better(task, choice, Choice((0, rank), runs))
    return choice


def _shortest(task: Task) -> Choice | None:
    """Whoever is left out leaves its part of a machine to the others, so they are asked again without it.

    Ranks on one machine are tried together, and the first of each alone; nothing between the two."""
    tried = [choice for choice in (_first_of_each(task), _settled(task)) if choice is not None]
    if not tried:
        return None
    best = max(tried, key=lambda choice: evaluation(task, choice).rates.alone)
    return _with_one_other(task, best, range(1, len(task.rooms)))


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
    return structs.replace(found, ranks=tuple(ranks[rank] for rank in found.ranks)) if found else None


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
