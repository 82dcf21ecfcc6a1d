"""A plan in words: why the layers lie as they do, and what each rank's memory goes to."""

from collections.abc import Iterator, Sequence

from ringcore.planning.capacity import Room
from ringcore.planning.choose import Choice
from ringcore.planning.evaluate import Evaluation
from ringcore.planning.rejected import rejected
from ringcore.planning.task import Task
from ringcore.spec.plan import Stage
from ringcore.spec.units import format_bytes


def explanation(
    task: Task, choice: Choice, found: Evaluation, speed: str, notes: Sequence[str]
) -> tuple[str, ...]:
    """Lines for the operator. ``task`` is that of all hosts, ``speed``: where the chosen ones' come from."""
    seated = task.seated(choice.ranks)
    return (
        _model(seated),
        _objective(task, speed),
        *_seats(task, choice),
        *_ranks(seated, found.stages),
        *_head(seated, found),
        *_pace(seated, found),
        *rejected(task, choice, found),
        *notes,
    )


def _model(task: Task) -> str:
    card, ring = task.needs.card, task.ring
    dtype = f"{card.quantization}, {card.dtype}" if card.quantization else card.dtype
    weights = format_bytes(task.needs.weights(0, task.needs.total))
    holds = "last" if ring.order == "reverse" else "first"
    ranks = "1 rank holds them all" if len(task.rooms) == 1 else f"rank 0 holds the {holds} of them"
    return f"{card.name} has {task.needs.total} layers and {weights} of weights ({dtype}); {ranks}."


def _objective(task: Task, speed: str) -> str:
    if task.ring.layers:
        return f"layers by hand: {list(task.ring.layers)}, rank 0 first."
    if task.ring.objective == "memory":
        return "objective memory: each rank uses the same share of its memory, as nearly as layers allow."
    if task.ring.objective == "latency":
        return (
            "objective latency: the way of a token through all stages is as short as can be, "
            f"without hosts that only lengthen it; {speed}."
        )
    if task.ring.objective == "equal":
        return (
            "objective equal: every rank has as many layers as the others, or one more where it costs least."
        )
    return f"objective throughput: the slowest rank is as fast as can be; {speed}."


def _seats(task: Task, choice: Choice) -> Iterator[str]:
    """Who is in the ring, where that is not simply the profile's hosts in their order."""
    names = [task.rooms[rank].host for rank in choice.ranks]
    if list(choice.ranks) != sorted(choice.ranks):
        yield f"order of the hosts, rank 0 first: {', '.join(names)}."
    for room in task.rooms:
        if room.host not in names:
            yield f"{room.host} is left out: it would only slow the ring."


def _ranks(task: Task, stages: Sequence[Stage]) -> Iterator[str]:
    ring = task.ring
    bits = f", {task.needs.kv_bits} bits" if task.needs.kv_bits else ""
    for stage in stages:
        room = task.rooms[stage.rank]
        shard = stage.shard
        run = f"layers {shard.start}..{shard.end - 1}" if shard.count > 1 else f"layer {shard.start}"
        run += " with embedding" if shard.is_first else ""
        run += f" {'and' if shard.is_first else 'with'} norm and head" if shard.is_last else ""
        sizes = (stage.weight_bytes, stage.kv_bytes, stage.prefix_bytes, stage.workspace_bytes)
        weights, kv, prefix, workspace = (format_bytes(size) for size in sizes)
        kept = f"prefix cache {prefix}, " if stage.prefix_bytes else ""
        yield (
            f"rank {stage.rank} ({stage.host}): {run}; weights {weights}, "
            f"KV cache {kv} ({ring.sequences} x {ring.context} tokens{bits}), {kept}workspace {workspace}."
        )
        part = 100 * stage.need_bytes / room.ceiling_bytes
        yield (
            f"  {format_bytes(stage.need_bytes)} in all, {part:.0f}% of its ceiling of {ceiling(room)}; "
            f"a step takes {format_seconds(stage.seconds)} ({stage.speed_source})."
        )


def _head(task: Task, found: Evaluation) -> Iterator[str]:
    if found.head_rows:
        first, last = sorted(found.stages, key=lambda stage: stage.shard.start)
        yield (
            f"the head is shared: rank {first.rank} computes the logits of {found.head_rows:,} of "
            f"{task.needs.card.vocab_size:,} tokens, rank {last.rank} at the same time those of the others."
        )


def ceiling(room: Room) -> str:
    """A rank's ceiling, where it comes from and what is kept of it."""
    return (
        f"{format_bytes(room.ceiling_bytes)} ({room.ceiling_source}), "
        f"{format_bytes(room.reserve_bytes)} of it kept for the system"
    )


def _pace(task: Task, found: Evaluation) -> Iterator[str]:
    rates, sequences = found.rates, task.needs.sequences
    if len(found.stages) > 1:
        quickest = min(stage.seconds for stage in found.stages)
        yield (
            f"rank {rates.slowest} sets the pace with {format_seconds(rates.step_seconds)} for a step, the "
            f"quickest rank takes {format_seconds(quickest)}."
        )
    rough = ", roughly: a speed is assumed" if any(speed.assumed for speed in task.speeds) else ""
    many = f", {rates.together:.1f} of {sequences} together" if sequences > 1 else ""
    yield f"expected: {rates.alone:.1f} tokens/s of one conversation{many}{rough}."


def format_seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
