"""What else the layers could have been split like, and why they are not: a sentence for each."""

from collections.abc import Iterator

from msgspec import Struct, structs

from ringcore.planning.choose import Choice, by_hand, choose, evaluation, with_host
from ringcore.planning.evaluate import Evaluation
from ringcore.planning.naive import by_free_memory, even
from ringcore.planning.task import Task

_MOST_HOSTS = 8  # of a profile; each of these alternatives is a search of its own
_SAME = 1.0005


class Alternative(Struct, frozen=True):
    """``choice`` None: it was looked for and does not fit."""

    name: str
    choice: Choice | None


def rejected(task: Task, choice: Choice, found: Evaluation) -> Iterator[str]:
    """Sentences about alternatives to ``choice``, which makes ``found``, in the terms of the objective."""
    if len(task.rooms) < 2:
        return
    seen = {(choice.ranks, choice.runs)}
    for each in _alternatives(task, choice):
        if each.choice is None:
            yield f"rejected: {each.name}: it does not fit."
        elif (each.choice.ranks, each.choice.runs) not in seen:
            seen.add((each.choice.ranks, each.choice.runs))
            yield f"rejected: {each.name}{_layers(task, each.choice)}: {_why(task, each.choice, found)}."


def _alternatives(task: Task, choice: Choice) -> Iterator[Alternative]:
    total, free = task.needs.total, [room.ceiling_bytes for room in task.rooms]
    yield Alternative("equal numbers of layers", by_hand(task, even(total, len(free))))
    yield Alternative("layers by free memory alone", by_hand(task, by_free_memory(total, free)))
    if choice.head_rows:
        yield Alternative("all of the head on the last stage", choose(task.asking(head="last")))
    if len(task.rooms) > _MOST_HOSTS:
        return
    for objective in ("throughput", "latency", "memory"):
        if objective != task.objective:
            other = task.asking(objective=objective, layers=())
            yield Alternative(f"objective {objective}", choose(other))
    if task.objective not in ("throughput", "latency", "memory"):
        return
    if list(choice.ranks) != sorted(choice.ranks):
        yield Alternative("the hosts in the profile's order", choose(task.asking(arrange=False)))
    fixed = task.asking(arrange=False)
    for rank in range(1, len(task.rooms)):
        name = task.rooms[rank].host
        if rank not in choice.ranks:
            yield Alternative(f"{name} in the ring as well", with_host(fixed, rank))
        else:
            yield Alternative(f"the ring without {name}", _without(fixed, rank))


def _without(task: Task, rank: int) -> Choice | None:
    others = [other for other in range(len(task.rooms)) if other != rank]
    found = choose(task.seated(others))
    return structs.replace(found, ranks=tuple(others[each] for each in found.ranks)) if found else None


def _layers(task: Task, choice: Choice) -> str:
    counts = ", ".join(
        f"{task.rooms[rank].host} {end - start}"
        for rank, (start, end) in zip(choice.ranks, choice.runs, strict=True)
    )
    return f" ({counts})"


def _why(task: Task, choice: Choice, found: Evaluation) -> str:
    other = evaluation(task, choice)
    if other.over:
        return "; ".join(other.over)
    if task.objective == "memory":
        return _compared(
            _fullest(other), _fullest(found), "{:.0%} of the memory of its fullest host", more=False
        )
    if task.objective == "latency":
        text = "{:.1f} tokens/s of one conversation"
        return _compared(other.rates.alone, found.rates.alone, text, more=True)
    host = other.stages[other.rates.slowest].host
    text = f"{host} would take {{:.1f}} ms for a step"
    if task.objective == "throughput":
        step = _compared(other.rates.step_seconds * 1000, found.rates.step_seconds * 1000, text, more=False)
        if task.needs.sequences > 1 and other.rates.together > found.rates.together * _SAME:
            step += (
                f"; but all {task.needs.sequences} sequences together would reach "
                f"{other.rates.together:.1f} tokens/s, in place of {found.rates.together:.1f}"
            )
        return step
    return f"not asked for; {other.rates.together:.1f} tokens/s in place of {found.rates.together:.1f}"


def _fullest(found: Evaluation) -> float:
    return max(stage.need_bytes / max(1, stage.ceiling_bytes - stage.reserve_bytes) for stage in found.stages)


def _compared(theirs: float, ours: float, text: str, *, more: bool) -> str:
    said = text.format(theirs)
    gain = theirs / ours if more else ours / theirs
    if 1 / _SAME < gain < _SAME:
        return f"no better: {said} as well"
    return f"{said}, in place of {ours:.0%}" if "%" in text else f"{said}, in place of {ours:.1f}"
