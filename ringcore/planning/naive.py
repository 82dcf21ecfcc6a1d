"""Splits as others make them, whether they fit or not: what ours is compared with."""

from ringcore.planning.choose import Choice
from ringcore.planning.evaluate import runs_of
from ringcore.planning.task import Task


def even(task: Task) -> Choice:
    """The same number of layers for each rank; the first of them take what is left over."""
    count, total = len(task.rooms), task.needs.total
    return _choice(task, [total // count + (rank < total % count) for rank in range(count)])


def by_free_memory(task: Task) -> Choice:
    """Layers in proportion to each host's ceiling; knows nothing of caches, head and embedding."""
    total = task.needs.total
    ceilings = [max(1, room.ceiling_bytes) for room in task.rooms]
    shares = [total * each / sum(ceilings) for each in ceilings]
    layers = [max(1, int(share)) for share in shares]
    # Largest remainders first; a rank that was raised to one layer has none.
    order = sorted(range(len(shares)), key=lambda rank: layers[rank] - shares[rank])
    for turn in range(total):
        if sum(layers) < total:
            layers[order[turn % len(order)]] += 1
    while sum(layers) > total:
        layers[layers.index(max(layers))] -= 1
    return _choice(task, layers)


def _choice(task: Task, layers: list[int]) -> Choice:
    return Choice(tuple(range(len(layers))), tuple(runs_of(layers, task.ring.order)))
