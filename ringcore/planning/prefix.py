"""How many blocks of earlier sequences the ranks may keep: what the split leaves free of memory. Pure.

All ranks keep the same blocks, each of its own layers, so the rank with the least room decides. The budget
never decides where layers lie, and never makes a plan impossible.
"""

from collections.abc import Sequence

from msgspec import Struct, structs

from ringcore.planning.kv import CACHE_STEP
from ringcore.planning.needs import Needs
from ringcore.spec.card import ModelCard
from ringcore.spec.plan import Stage
from ringcore.spec.units import format_bytes

BLOCK_TOKENS = 64  # as `ringcore.engine.prefix` has it
_LEAST_BLOCKS = 4
_AUTO_PART = 2  # of what is free


class Budget(Struct, frozen=True, kw_only=True):
    """``stages`` in rank order with their ``prefix_bytes``. ``line``: for the operator."""

    blocks: int
    stages: tuple[Stage, ...]
    line: str


def can_be_cut(card: ModelCard) -> bool:
    """Whether keys and values of any run of tokens can be taken out of every layer's cache. Of a layer with a
    window older tokens are gone; a state is of all tokens at once."""
    kept = any(layer.kv_bytes_per_token for layer in card.layers)
    return kept and not any(layer.kv_window or layer.state_bytes_per_sequence for layer in card.layers)


def block_bytes(card: ModelCard, start: int, end: int) -> int:
    """Of one block, for layers ``start`` to ``end``."""
    return BLOCK_TOKENS * sum(layer.kv_bytes_per_token for layer in card.layers[start:end])


def disk_blocks(card: ModelCard, disk_bytes: int) -> int:
    """Blocks that fit into files of ``disk_bytes`` on all hosts together."""
    return disk_bytes // max(1, block_bytes(card, 0, len(card.layers)))


def budget(needs: Needs, stages: Sequence[Stage], memory_bytes: int | None) -> Budget:
    """``memory_bytes`` counts all ranks together; None: half of what is free, and no more tokens than
    all running sequences may have."""
    if not can_be_cut(needs.card):
        return _none(stages, "prefix cache: none, this model's caches cannot be cut into blocks.")
    if memory_bytes == 0:
        return _none(stages, "prefix cache: none, the profile says so.")
    whole = block_bytes(needs.card, 0, needs.total)
    if memory_bytes is None:
        wanted, part = needs.sequences * needs.context // BLOCK_TOKENS, _AUTO_PART
    else:
        wanted, part = memory_bytes // whole, 1
    blocks = min(wanted, *(_room(needs, stage, part) for stage in stages))
    if blocks < _LEAST_BLOCKS:
        return _none(stages, "prefix cache: none, the ranks have no memory left for it.")
    placed = tuple(
        structs.replace(stage, prefix_bytes=_fixed(needs, stage) + blocks * _of(needs, stage))
        for stage in stages
    )
    line = f"prefix cache: {blocks * BLOCK_TOKENS} tokens, {format_bytes(blocks * whole)} over all ranks."
    if memory_bytes is not None and blocks < wanted:
        line += f" cache.memory asks for {format_bytes(memory_bytes)}, which is not free."
    return Budget(blocks=blocks, stages=placed, line=line)


def _none(stages: Sequence[Stage], line: str) -> Budget:
    return Budget(blocks=0, stages=tuple(structs.replace(s, prefix_bytes=0) for s in stages), line=line)


def _room(needs: Needs, stage: Stage, part: int) -> int:
    """Blocks that fit into a ``part``-th of what is free on ``stage``."""
    size = _of(needs, stage)
    if not size:  # a stage of layers without caches
        return 1 << 30
    return max(0, stage.free_bytes // part - _fixed(needs, stage)) // size


def _fixed(needs: Needs, stage: Stage) -> int:
    """A sequence that begins with blocks grows from there, so that up to a step of room stays unused."""
    return needs.sequences * (CACHE_STEP - 1) * _of(needs, stage) // BLOCK_TOKENS


def _of(needs: Needs, stage: Stage) -> int:
    return block_bytes(needs.card, stage.shard.start, stage.shard.end)
