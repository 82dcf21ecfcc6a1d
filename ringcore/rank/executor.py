"""What one stage does with a step: caches by slot, the layers, and on the last stage the sampling.

Knows nothing of links: `perform` takes a message and returns what goes to the next stage.
"""

import time
from collections.abc import Callable
from typing import cast

import mlx.core as mx
from msgspec import structs

from ringcore.cache import sequence
from ringcore.cache.batches import Batches, can_merge
from ringcore.cache.behind import Behind
from ringcore.cache.blocks import Blocks
from ringcore.cache.kinds import Holds
from ringcore.engine import logprobs, opening
from ringcore.engine.grammar import Grammars
from ringcore.engine.sampler import Sampler
from ringcore.engine.step import HEAD_OPERATIONS, NO_TOKEN, Operation, Row, Step
from ringcore.models.stage import ModelStage
from ringcore.rank import prefix
from ringcore.rank.drawing import Drawings, by_row, drawn
from ringcore.rank.link import Message
from ringcore.spec.errors import RingError
from ringcore.spec.events import PrefixUsed


class _Slot:
    """One sequence on this stage. ``last`` is the token drawn last (1,), where this stage draws."""

    def __init__(self, sampler: Sampler) -> None:
        self.sampler = sampler
        self.position = 0
        self.last: mx.array | None = None

    def draw(self, logits: mx.array) -> mx.array:
        """The next token from ``logits`` (1, V), and what was asked of it: words (1 + n,), lazy."""
        self.last, words = self.sampler.draw(logits, self.position)
        return words


class Executor:
    """``busy`` counts seconds in compute, ``tokens`` those that passed, since it was made. ``grammars`` is
    asked where this stage draws. ``behind`` may come later, before the first step."""

    def __init__(
        self, stage: ModelStage, grammars: Grammars | None = None, behind: Behind | None = None
    ) -> None:
        self._stage = stage
        self._grammars = grammars
        self._slots: dict[int, _Slot] = {}
        self._caches = Batches()
        self.blocks = Blocks()
        self.behind = behind
        self._merges = stage.merges and can_merge(stage.make_cache())
        shared = stage.head if stage.shard.is_last else None
        self._drawings = Drawings(shared) if shared else None
        self.missed: Callable[[], int] = lambda: 0  # blocks that other hosts were asked for in vain
        self.busy = 0.0
        self.tokens = 0

    @property
    def slots(self) -> int:
        """Sequences that hold a cache here."""
        return len(self._slots)

    @property
    def kv_bytes(self) -> int:
        """Bytes of all caches of all slots."""
        return self._caches.nbytes

    def on_disk(self, name: bytes) -> bool:
        """Whether files here have the block."""
        return self.behind is not None and self.behind.has(name)

    @property
    def prefix_used(self) -> PrefixUsed:
        """What is kept of earlier sequences, in memory and in files."""
        used = structs.replace(self.blocks.used, uncached=self._stage.uncut)
        if self.behind is None:
            return used
        disk = self.behind.figures
        return structs.replace(
            used,
            disk_blocks=disk.blocks,
            disk_bytes=disk.bytes,
            damaged=disk.damaged,
            brought=disk.brought,
            brought_bytes=disk.brought_bytes,
            missed=self.missed(),
        )

    def perform(self, message: Message) -> Message:
        """Do the step and wait for its result. Raises `RingError` when the step does not fit what is here.

        Returns hidden states (tokens, D) for the next stage, or from the last stage the step with the
        drawn tokens in its rows and their log-probabilities, where they were asked for, as its payload.
        Where the head is shared, the last stage first returns a HEAD with hidden states (rows, D) for the
        first stage, and that a DRAW with its part of their logits (rows, part of V).
        """
        began = time.perf_counter()
        step, arrays = self.begin(message)
        mx.eval(arrays)
        seconds = time.perf_counter() - began
        self.busy += seconds
        # A head's part comes after the layers of the same token: to the stage it is one piece of work.
        before = step.microseconds if message.step.operation in HEAD_OPERATIONS else 0
        longest = max(step.microseconds, before + int(1e6 * seconds))
        step = structs.replace(step, microseconds=longest)
        if not self._stage.shard.is_last or step.operation is Operation.HEAD:
            return Message(step, arrays[0] if arrays else None)
        return Message(finish(step, arrays))

    def afterwards(self) -> None:
        """Work on a step that the next stage has no need of, once it was sent what `perform` returned."""
        own = self._drawings.own() if self._drawings else None
        if own is not None:
            began = time.perf_counter()
            mx.eval(own)
            self.busy += time.perf_counter() - began

    def begin(self, message: Message) -> tuple[Step, list[mx.array]]:
        """As `perform`, but lazy. The arrays are the hidden states, or on the last stage one a row: the
        words of `Drawn` where the row samples, else what forces the caches."""
        step = message.step
        if step.operation is Operation.RUN:
            self.tokens += step.token_count
            return self._run(message)
        if step.operation is Operation.HEAD:
            return structs.replace(step, operation=Operation.DRAW), [self._logits(message)]
        if step.operation is Operation.DRAW:
            return step, self._draw(message)
        if step.operation is Operation.OPEN:
            self._open(step)
        elif step.operation is Operation.DROP:
            for row in step.rows:
                self._slot(row, step)
                del self._slots[row.slot]
                self._caches.drop(row.slot)
            mx.clear_cache()
        elif step.operation in prefix.OPERATIONS:
            step = self._prefix(step)
        if self._stage.shard.is_last:
            step = structs.replace(step, payload=b"")
        return step, []

    def _open(self, step: Step) -> None:
        slot = step.rows[0].slot
        if slot in self._slots:
            raise RingError(f"step {step.number} opens slot {slot}, which is in use", "start the ring again")
        asked = opening.decode(step.payload)
        constraint = None
        if asked.grammar and self._stage.shard.is_last and self._grammars is not None:
            constraint = self._grammars.constraint(asked.grammar, asked.stops)
        self._slots[slot] = _Slot(Sampler(asked, constraint))
        self._caches.open(slot, self._stage.make_cache())

    def _prefix(self, step: Step) -> Step:
        for row in step.rows:
            slot = self._slot(row, step)
            if step.operation is Operation.LOAD:
                slot.position += row.count
            # A cache that holds a state is asked for it where it is.
            elif step.operation is Operation.STORE and Holds.STATE in self._stage.holds:
                _at(slot, row.position + row.count, row, step)
        return prefix.perform(step, self._caches, self.blocks, self.behind)

    def _run(self, message: Message) -> tuple[Step, list[mx.array]]:
        step = structs.replace(message.step, tokens=())
        rows = message.step.rows
        slots = [self._slot(row, message.step) for row in rows]
        if len(rows) > 1 and self._merges and all(row.count == 1 and row.sample for row in rows):
            outputs = self._together(message, slots)
        else:
            outputs = self._one_by_one(message, slots)
        if not self._stage.shard.is_last:
            return step, outputs if len(outputs) == 1 else [mx.concatenate(outputs, axis=0)]
        if self._drawings is not None:
            return self._drawings.after_layers(step, slots, outputs, len(self._slots))
        return step, drawn(rows, slots, outputs)

    def _logits(self, message: Message) -> mx.array:
        """The first stage's part of them, (rows, part of V)."""
        if self._stage.head is None or message.hidden is None:
            raise RingError(
                f"step {message.step.number} asks for logits of no row here", "start the ring again"
            )
        return self._stage.head.part(message.hidden)

    def _draw(self, message: Message) -> list[mx.array]:
        if self._drawings is None or message.hidden is None:
            raise RingError(
                f"step {message.step.number} brings logits nobody asked for", "start the ring again"
            )
        return self._drawings.join(message.step, message.hidden)

    def _together(self, message: Message, slots: list[_Slot]) -> list[mx.array]:
        """One token of each row, as one batch."""
        rows = message.step.rows
        if self._stage.shard.is_first:
            x = mx.concatenate(
                [_input(row, slot, (row.token,)) for row, slot in zip(rows, slots, strict=True)]
            )
        else:
            assert message.hidden is not None
            x = message.hidden[:, None]
        y = self._stage(x, self._caches.several(tuple(row.slot for row in rows)))
        for slot in slots:
            slot.position += 1
        return by_row(y) if self._stage.shard.is_last else [y[:, 0]]

    def _one_by_one(self, message: Message, slots: list[_Slot]) -> list[mx.array]:
        shard = self._stage.shard
        ids = message.step.ids if shard.is_first else ()
        outputs: list[mx.array] = []
        at = 0
        for row, slot in zip(message.step.rows, slots, strict=True):
            if shard.is_first:
                x = _input(row, slot, ids[at : at + row.count])
            else:
                assert message.hidden is not None
                x = message.hidden[at : at + row.count][None]
            at += row.count
            cache = self._caches.one(row.slot)
            y = self._stage(x, cache, row.sample)
            if row.count > 1 and (states := sequence.states(cache)):
                # No output asks for the last state: left lazy, it would hold what the whole chunk computed.
                (y,) = mx.depends([y], states)
            slot.position += row.count
            outputs.append(y if shard.is_last else y[0])
        return outputs

    def _slot(self, row: Row, step: Step) -> _Slot:
        slot = self._slots.get(row.slot)
        if slot is None:
            raise RingError(
                f"step {step.number} ({step.operation.name}) names slot {row.slot}, which is not open",
                "start the ring again",
            )
        goes_on = step.operation in (Operation.RUN, Operation.LOAD)
        if goes_on:
            _at(slot, row.position, row, step)
        return slot


def _at(slot: _Slot, position: int, row: Row, step: Step) -> None:
    if slot.position != position:
        raise RingError(
            f"step {step.number} ({step.operation.name}) takes slot {row.slot} from position {position}, "
            f"its cache here is at {slot.position}",
            "start the ring again",
        )


def finish(step: Step, arrays: list[mx.array]) -> Step:
    """The step with the tokens that the last stage drew (``arrays`` as `Executor.begin` gave them)."""
    if step.operation not in (Operation.RUN, Operation.DRAW):
        return step
    drawn = [
        cast(list[int], array.tolist()) if row.sample else [NO_TOKEN]
        for row, array in zip(step.rows, arrays, strict=True)
    ]
    rows = tuple(structs.replace(row, token=words[0]) for row, words in zip(step.rows, drawn, strict=True))
    return structs.replace(step, rows=rows, payload=logprobs.pack([words[1:] for words in drawn]))


def _input(row: Row, slot: _Slot, ids: tuple[int, ...]) -> mx.array:
    if row.count == 1 and row.token == NO_TOKEN:
        assert slot.last is not None, "a row without its token needs the stage that drew it"
        return slot.last[None]
    return mx.array([ids], dtype=mx.int32)
