"""Words for a model that does not fit: what each host lacks, and changes that were computed to be enough."""

from collections.abc import Callable, Iterator
from itertools import islice

from ringcore.planning.bits import at_four_bits
from ringcore.planning.capacity import Room, ceiling_for
from ringcore.planning.choose import fits
from ringcore.planning.explain import ceiling
from ringcore.planning.kept import CACHE_STEP
from ringcore.planning.kv_bits import why_not
from ringcore.planning.split import Cut, Runs, least_missing
from ringcore.planning.task import Task
from ringcore.spec.errors import PlanError
from ringcore.spec.profile import RingOptions
from ringcore.spec.units import GIB, MIB, format_bytes

_MOST_HOSTS = 8
_LEAST_CONTEXT = 16
_MOST_REMEDIES = 3
_KV_BITS = (8, 4)
_MACS = (16, 24, 32, 48, 64, 96, 128, 192, 256, 512)  # GB, as they are sold
_REMEDY = "take a smaller model, or one with fewer bits for each weight"


def does_not_fit(task: Task) -> PlanError:
    """The error for a task without a cut that fits. Its hosts are shown for the cut that lacks least."""
    ends = least_missing(task.stages(), task.counts)
    assert ends is not None, "there are at least as many layers as ranks"
    runs = Cut(ends, 0).runs
    card, ring = task.needs.card, task.ring
    lines = "".join(f"\n    {line}" for line in _hosts(task, runs))
    remedies = list(islice(_remedies(task, runs), _MOST_REMEDIES)) or [_REMEDY]
    return PlanError(
        f"{card.name} does not fit with context {ring.context} and {ring.sequences} sequences{_how(task)}; "
        f"closest:{lines}",
        remedies[0]
        if len(remedies) == 1
        else "one of these is enough:" + "".join(f"\n    - {r}" for r in remedies),
    )


def _how(task: Task) -> str:
    if task.ring.layers:
        return f" and layers by hand {list(task.ring.layers)}"
    return " and an equal number of layers each" if task.counts else ""


def _hosts(task: Task, runs: Runs) -> Iterator[str]:
    for rank, room in enumerate(task.rooms):
        start, end = runs[task.position(rank)]
        need = task.needs.all(start, end)
        missing = max(0, need - room.usable_bytes)
        verdict = f"{format_bytes(missing)} missing" if missing else "enough"
        yield (
            f"rank {rank} ({room.host}), layers {start}..{end - 1}: needs {format_bytes(need)}, "
            f"has {format_bytes(room.usable_bytes)}: {verdict}; ceiling {ceiling(room)}"
        )


def _remedies(task: Task, runs: Runs) -> Iterator[str]:
    """Those that give up least come first."""
    ring = task.ring
    if task.counts is not None and fits(task.asking(layers=(), objective="memory")):
        if ring.layers:
            yield "remove ring.layers: the planner finds a split that fits"
        else:
            yield 'write objective = "memory" under [ring]: a split that fits exists'
    yield from _other_hosts(task)
    yield from _kept_in_bits(task)
    context = _context(task, ring.sequences)
    if context:
        yield f"write {_context_keys(ring, context)} under [ring]"
    sequences = _largest(1, ring.sequences - 1, lambda count: _fits(task, ring.context, count))
    if sequences:
        yield f"write sequences = {sequences} under [ring]"
    if not context and not sequences and ring.sequences > 1:
        context = _context(task, 1)
        if context:
            yield f"write sequences = 1 and {_context_keys(ring, context)} under [ring]"
    yield from _higher_ceilings(task, runs)
    yield from _fewer_bits(task)
    extra = _one_more_host(task)
    if extra:
        yield f"add one more host, last in the profile, which has {_up(extra)} for the ring{_such_as(extra)}"


def _other_hosts(task: Task) -> Iterator[str]:
    """The same machines in another order, or one fewer: each must hold a layer, and some cannot."""
    count = len(task.rooms)
    if task.ring.layers or count < 2:
        return
    if not task.ring.arrange and task.counts is None and 2 < count <= _MOST_HOSTS:
        arranged = task.asking(arrange=True)
        if fits(arranged):
            yield "write arrange = true under [ring]: in another order of the hosts it fits"
    for rank in range(1, count):
        if fits(task.seated([other for other in range(count) if other != rank])):
            yield f"remove {task.rooms[rank].host} from the profile: the others hold the model without it"
            return


def _kept_in_bits(task: Task) -> Iterator[str]:
    """The most bits for keys and values with which it fits, fewer than there are."""
    needs = task.needs
    if why_not(needs.given):
        return
    for bits in _KV_BITS:
        if bits < (needs.kv_bits or 16) and fits(task.under(needs.changed(kv_bits=bits))):
            yield f"write kv_bits = {bits} under [cache]: keys and values of {bits} bits each"
            return


def _context(task: Task, sequences: int) -> int:
    """The largest context that fits, in whole steps of the cache; 0 when none does."""
    found = _largest(_LEAST_CONTEXT, task.ring.context - 1, lambda size: _fits(task, size, sequences))
    return found // CACHE_STEP * CACHE_STEP or found


def _context_keys(ring: RingOptions, context: int) -> str:
    chunk = f" and prefill_chunk = {context}" if ring.prefill_chunk > context else ""
    return f"context = {context}{chunk}"


def _fits(task: Task, context: int, sequences: int) -> bool:
    chunk = min(task.needs.prefill_chunk, context)
    return fits(task.under(task.needs.changed(context=context, sequences=sequences, prefill_chunk=chunk)))


def _higher_ceilings(task: Task, runs: Runs) -> Iterator[str]:
    """Where every rank that lacks memory has a ceiling set by hand."""
    needs = {rank: task.needs.all(*runs[task.position(rank)]) for rank in range(len(task.rooms))}
    short = [room for room in task.rooms if needs[room.rank] > room.usable_bytes]
    if all(room.by_hand for room in short):
        wanted = [f"{room.host} {_up(ceiling_for(needs[room.rank]))}" for room in short]
        yield f"where the machines have it, set a ceiling of: {', '.join(wanted)}"


def _fewer_bits(task: Task) -> Iterator[str]:
    """The same model at 4 bits a weight, where this one has more."""
    needs = task.needs
    lighter = at_four_bits(needs.given)
    if lighter is None:
        return
    smaller = needs.changed(given=lighter)
    if fits(task.under(smaller)):
        size, now = smaller.weights(0, needs.total), needs.weights(0, needs.total)
        yield (
            f"take the model with 4-bit weights in place of {needs.card.quantization or needs.card.dtype}: "
            f"{format_bytes(size)} in place of {format_bytes(now)}"
        )


def _one_more_host(task: Task) -> int:
    """Bytes that one more host would have to offer; 0 when none helps or none may be added."""
    if len(task.rooms) >= _MOST_HOSTS or task.ring.layers or any(room.mates > 1 for room in task.rooms):
        return 0
    if len(task.rooms) >= task.needs.total:
        return 0

    def enough(mebibytes: int) -> bool:
        room = Room(
            rank=len(task.rooms), host="", ceiling_bytes=mebibytes * MIB, ceiling_source="", reserve_bytes=0
        )
        wider = Task(
            task.needs,
            (*task.rooms, room),
            (*task.speeds, task.speeds[0]),
            (*task.links, task.links[0]),
            task.ring,
        )
        return fits(wider)

    most = -(-task.needs.all(0, task.needs.total) // MIB)
    if not enough(most):
        return 0
    return (_largest(0, most - 1, lambda size: not enough(size)) + 1) * MIB


def _such_as(size: int) -> str:
    """The smallest Mac whose GPU may have ``size`` bytes: two thirds of a small one, three quarters else."""
    shares = {mac: mac * GIB * 2 // 3 if mac < 36 else mac * GIB * 3 // 4 for mac in _MACS}
    fitting = next((mac for mac, share in shares.items() if share >= size), None)
    return f", such as a Mac of {fitting} GB with nothing else on it" if fitting else ""


def _largest(low: int, high: int, holds: Callable[[int], bool]) -> int:
    """The largest number in ``low..high`` for which ``holds``, which must hold for all below it; else 0."""
    found = 0
    while low <= high:
        middle = (low + high) // 2
        if holds(middle):
            found, low = middle, middle + 1
        else:
            high = middle - 1
    return found


def _up(size: int) -> str:
    """As `format_bytes` writes it, never less than ``size``."""
    if size >= 100 * GIB:
        return format_bytes(-(-size // GIB) * GIB)
    step = GIB if size >= GIB else MIB
    tenths = -(-size * 10 // step)
    return f"{tenths / 10:.1f} {'GiB' if step == GIB else 'MiB'}"
