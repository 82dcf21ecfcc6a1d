"""One stage's part of the steps of the prefix cache: which blocks it stores, loads and forgets.

Joins the caches of running sequences with the blocks of earlier ones. Which blocks is the leader's choice.
"""

import struct
from collections.abc import Callable

from ringcore.cache.batches import Batches
from ringcore.cache.blocks import Blocks
from ringcore.engine import prefix_steps
from ringcore.engine.step import Operation, Step
from ringcore.planning.prefix import block_bytes
from ringcore.spec.errors import RingError
from ringcore.spec.plan import Plan

OPERATIONS = (Operation.STORE, Operation.LOAD, Operation.FORGET)


def perform(step: Step, caches: Batches, blocks: Blocks) -> None:
    """Raises `RingError` when the step does not fit what is here."""
    try:
        if step.operation is Operation.FORGET:
            blocks.forget(prefix_steps.places(step.payload))
        elif step.operation is Operation.STORE:
            _store(step, caches, blocks)
        else:
            _load(step, caches, blocks)
    except struct.error as error:
        raise RingError(
            f"step {step.number} ({step.operation.name}) has a payload of {len(step.payload)} bytes: {error}",
            "all ranks must run the same version; stop the ring and start it again",
        ) from error


def reliever(plan: Plan, forget: Callable[[int], int]) -> Callable[[int, int], int]:
    """``relieve(rank, size)``: have blocks go that take ``size`` bytes on ``rank``, and say how many bytes
    that frees there. ``forget`` is told a number of blocks, and says how many will go."""
    sizes = [
        block_bytes(plan.card, stage.shard.start, stage.shard.end) if plan.card and plan.prefix_blocks else 0
        for stage in plan.stages
    ]
    return lambda rank, size: sizes[rank] * forget(-(-size // sizes[rank])) if sizes[rank] else 0


def _store(step: Step, caches: Batches, blocks: Blocks) -> None:
    (row,) = step.rows
    stored = prefix_steps.stored(step.payload)
    cache, place = caches.find(row.slot)
    blocks.store(cache, place, row.position, row.count // max(1, len(stored)), [at for at, _ in stored])


def _load(step: Step, caches: Batches, blocks: Blocks) -> None:
    (row,) = step.rows
    places = prefix_steps.places(step.payload)
    blocks.load(caches.one(row.slot), places)
    blocks.reused(row.count, begins=row.position == 0)
