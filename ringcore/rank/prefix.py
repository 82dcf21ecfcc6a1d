"""One stage's part of the steps of the prefix cache: which blocks it stores, loads and forgets.

Joins the caches of running sequences with the blocks of earlier ones. Which blocks is the leader's choice.
"""

import struct
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from msgspec import structs

from ringcore.cache.batches import Batches
from ringcore.cache.behind import Behind
from ringcore.cache.blocks import Blocks
from ringcore.cache.disk import Disk
from ringcore.engine import prefix_steps
from ringcore.engine.step import Operation, Step
from ringcore.models.stage import ModelStage
from ringcore.planning.kv_bits import in_bits
from ringcore.planning.prefix import block_bytes
from ringcore.spec.control import Fingerprints
from ringcore.spec.errors import RingError
from ringcore.spec.plan import Plan

OPERATIONS = (Operation.STORE, Operation.LOAD, Operation.FORGET, Operation.FETCH)


def perform(step: Step, caches: Batches, blocks: Blocks, behind: Behind | None) -> Step:
    """The step as it goes on. ``behind``: where blocks are on disk, if anywhere. Raises `RingError` when the
    step does not fit what is here."""
    try:
        if step.operation is Operation.FETCH:
            return _fetch(step, blocks, behind)
        if step.operation is Operation.FORGET:
            _forget(step, blocks, behind)
        elif step.operation is Operation.STORE:
            _store(step, caches, blocks, behind)
        else:
            _load(step, caches, blocks, behind)
    except struct.error as error:
        raise RingError(
            f"step {step.number} ({step.operation.name}) has a payload of {len(step.payload)} bytes: {error}",
            "all ranks must run the same version; stop the ring and start it again",
        ) from error
    return step


def reliever(plan: Plan, forget: Callable[[int], int]) -> Callable[[int, int], int]:
    """``relieve(rank, size)``: have blocks go that take ``size`` bytes on ``rank``, and say how many bytes
    that frees there. ``forget`` is told a number of blocks, and says how many will go."""
    card = in_bits(plan.card, plan.kv_bits) if plan.card else None
    sizes = [
        block_bytes(card, stage.shard.start, stage.shard.end, plan.block_tokens)
        if card and plan.prefix_blocks
        else 0
        for stage in plan.stages
    ]
    return lambda rank, size: sizes[rank] * forget(-(-size // sizes[rank])) if sizes[rank] else 0


def on_disk(
    plan: Plan, root: str, stage: ModelStage, folder: Path, warn: Callable[[str], None]
) -> Behind | None:
    """Blocks of ``root`` in files under ``folder``; None where the plan has none, or the folder cannot be
    used."""
    if not (root and plan.prefix_disk_blocks) or stage.uncut:
        return None
    try:
        disk = Disk(folder, bytes.fromhex(root), plan.prefix_disk_blocks, 3600 * plan.prefix_ttl_hours)
    except OSError as error:
        warn(f"beginnings of prompts are not written to disk: {error}")
        return None
    return Behind(disk, stage.shard, stage.make_cache(), stage.cache_layers, warn)


def fingerprints(stage: ModelStage) -> Fingerprints:
    """For the agent, which joins those of all ranks into the root."""
    embedding, layers = stage.fingerprints()
    return Fingerprints(embedding=embedding, layers=layers, code=f"mlx-lm {version('mlx-lm')}")


def _store(step: Step, caches: Batches, blocks: Blocks, behind: Behind | None) -> None:
    (row,) = step.rows
    stored = prefix_steps.stored(step.payload)
    cache, place = caches.find(row.slot)
    blocks.store(cache, place, row.position, row.count // max(1, len(stored)), [at for at, _ in stored])
    if behind is not None:
        for at, name in stored:
            behind.write(name, at, blocks.block(at))


def _fetch(step: Step, blocks: Blocks, behind: Behind | None) -> Step:
    """The row's token becomes the number of blocks, from the first on, that all ranks so far have."""
    (row,) = step.rows
    wanted = prefix_steps.stored(step.payload)[: max(0, row.token)]
    count = 0
    while behind is not None and count < len(wanted):
        at, name = wanted[count]
        block = behind.read(name)
        if block is None:
            break
        behind.holds(at, name)
        blocks.put(at, block)
        count += 1
    return structs.replace(step, rows=(structs.replace(row, token=count),))


def _forget(step: Step, blocks: Blocks, behind: Behind | None) -> None:
    places = prefix_steps.places(step.payload)
    blocks.forget(places)
    if behind is not None:
        behind.gone(places)
        if not places:
            behind.clear()


def _load(step: Step, caches: Batches, blocks: Blocks, behind: Behind | None) -> None:
    (row,) = step.rows
    places = prefix_steps.places(step.payload)
    blocks.load(caches.one(row.slot), places, row.position, row.count)
    blocks.reused(row.count, begins=row.position == 0)
    if behind is not None:
        behind.used(places)
