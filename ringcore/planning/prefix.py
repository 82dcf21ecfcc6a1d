"""How many blocks of earlier sequences the ranks may keep: what the split leaves free of memory. Pure.

All ranks keep the same blocks, each of its own layers, so the rank with the least room decides. The budget
never decides where layers lie, and never makes a plan impossible.
"""

from collections.abc import Sequence

from msgspec import Struct, structs

from ringcore.planning.kept import CACHE_STEP
from ringcore.planning.needs import Needs
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.plan import Stage
from ringcore.spec.units import format_bytes

BLOCK_TOKENS = 64
STATE_BLOCK_TOKENS = 256  # a state is kept with each block, whatever its size
_LEAST_BLOCKS = 4
_AUTO_PART = 2  # of what is free


class Budget(Struct, frozen=True, kw_only=True):
    """``stages`` in rank order with their ``prefix_bytes``. ``line``: for the operator."""

    blocks: int
    stages: tuple[Stage, ...]
    line: str


def block_tokens(card: ModelCard, wanted: int) -> int:
    """Tokens of a block: ``wanted`` by the profile; 0: fewer where blocks are of keys and values alone."""
    if wanted:
        return wanted
    stateful = any(layer.state_bytes_per_sequence for layer in card.layers)
    return STATE_BLOCK_TOKENS if stateful else BLOCK_TOKENS


def block_bytes(card: ModelCard, start: int, end: int, tokens: int) -> int:
    """Of one block of ``tokens``, for layers ``start`` to ``end``: keys and values of the tokens, of a window
    no more than it sees, and the states at the block's end."""
    layers = card.layers[start:end]
    kept = sum(_within(layer, tokens) * layer.kv_bytes_per_token for layer in layers)
    return kept + sum(layer.state_bytes_per_sequence for layer in layers)


def disk_blocks(card: ModelCard, disk_bytes: int, tokens: int) -> int:
    """Blocks of ``tokens`` that fit into files of ``disk_bytes`` on all hosts together."""
    return disk_bytes // max(1, block_bytes(card, 0, len(card.layers), tokens))


def budget(needs: Needs, stages: Sequence[Stage], memory_bytes: int | None, tokens: int) -> Budget:
    """For blocks of ``tokens``. ``memory_bytes`` counts all ranks together; None: half of what is free, and
    no more tokens than all running sequences may have."""
    whole = block_bytes(needs.card, 0, needs.total, tokens)
    if not whole:
        return _none(stages, "prefix cache: none, this model's layers keep nothing.")
    if memory_bytes == 0:
        return _none(stages, "prefix cache: none, the profile says so.")
    if memory_bytes is None:
        wanted, part = needs.sequences * needs.context // tokens, _AUTO_PART
    else:
        wanted, part = memory_bytes // whole, 1
    blocks = min(wanted, *(_room(needs, stage, part, tokens) for stage in stages))
    if blocks < _LEAST_BLOCKS:
        return _none(stages, "prefix cache: none, the ranks have no memory left for it.")
    placed = tuple(
        structs.replace(stage, prefix_bytes=_fixed(needs, stage) + blocks * _of(needs, stage, tokens))
        for stage in stages
    )
    line = f"prefix cache: {blocks * tokens} tokens, {format_bytes(blocks * whole)} over all ranks"
    line += f"; a block is {tokens} tokens{_beside(needs.card)}, {format_bytes(whole)}."
    if memory_bytes is not None and blocks < wanted:
        line += f" cache.memory asks for {format_bytes(memory_bytes)}, which is not free."
    return Budget(blocks=blocks, stages=placed, line=line)


def _none(stages: Sequence[Stage], line: str) -> Budget:
    return Budget(blocks=0, stages=tuple(structs.replace(s, prefix_bytes=0) for s in stages), line=line)


def _room(needs: Needs, stage: Stage, part: int, tokens: int) -> int:
    """Blocks that fit into a ``part``-th of what is free on ``stage``."""
    size = _of(needs, stage, tokens)
    if not size:  # a stage of layers without caches
        return 1 << 30
    return max(0, stage.free_bytes // part - _fixed(needs, stage)) // size


def _fixed(needs: Needs, stage: Stage) -> int:
    """A sequence that begins with blocks grows from there, so that up to a step of room stays unused."""
    grows = sum(
        layer.kv_bytes_per_token
        for layer in needs.card.layers[stage.shard.start : stage.shard.end]
        if not layer.kv_window
    )
    return needs.sequences * (CACHE_STEP - 1) * grows


def _of(needs: Needs, stage: Stage, tokens: int) -> int:
    return block_bytes(needs.card, stage.shard.start, stage.shard.end, tokens)


def _within(layer: LayerCard, tokens: int) -> int:
    return min(tokens, layer.kv_window or tokens)


def _beside(card: ModelCard) -> str:
    """What a block has beside keys and values of its tokens in every layer."""
    windows = sum(layer.kv_window > 0 for layer in card.layers)
    states = sum(layer.state_bytes_per_sequence > 0 for layer in card.layers)
    parts = [
        f"the windows of {windows} layers" if windows else "",
        f"the states of {states} layers at its end" if states else "",
    ]
    return "".join(
        f" with {part}" if number == 0 else f" and {part}" for number, part in enumerate(filter(None, parts))
    )
