"""On the last stage where the first has a part of the head: which rows wait for it, and their tokens.

Knows neither links nor layers.
"""

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import mlx.core as mx
from msgspec import structs

from ringcore.engine.step import NO_TOKEN, Operation, Row, Step
from ringcore.models.stage import SharedHead
from ringcore.spec.errors import RingError


class Drawer(Protocol):
    """Draws a row's tokens."""

    def draw(self, logits: mx.array) -> mx.array:
        """The words of the next token from ``logits`` (1, V), lazy."""
        ...


def drawn(rows: Sequence[Row], drawers: Sequence[Drawer], outputs: Sequence[mx.array]) -> list[mx.array]:
    """An array a row: what is drawn from its logits (1, V), or the output as it is where the row does not."""
    return [
        drawer.draw(output) if row.sample else output
        for row, drawer, output in zip(rows, drawers, outputs, strict=True)
    ]


def by_row(array: mx.array) -> list[mx.array]:
    """Of (B, N) each row as (1, N)."""
    return [array[index : index + 1] for index in range(array.shape[0])]


class Drawings:
    """Rows wait in the order in which they went through the layers.

    While prompts are read beside answers nothing is shared: the way to the first stage and back would be one
    behind a chunk each time, and a token would take twice as long."""

    def __init__(self, head: SharedHead) -> None:
        self._head = head
        self._waiting: deque[tuple[tuple[Row, ...], Sequence[Drawer], mx.array]] = deque()
        self._since_chunk = 0  # rows that drew since a chunk of a prompt went by

    def after_layers(
        self, step: Step, drawers: Sequence[Drawer], outputs: Sequence[mx.array], running: int
    ) -> tuple[Step, list[mx.array]]:
        """A RUN is through the layers. ``outputs``: of each row that draws what goes into the head (1, D).
        ``running``: sequences that may draw between two chunks of a prompt.

        Returns the step and an array a row as `Executor.begin` does; or what goes to the first stage, a HEAD
        with the hidden states (B, D), all lazy."""
        if not all(row.sample and row.count == 1 for row in step.rows):
            self._since_chunk = 0
            heads = [
                self._head.whole(output) if row.sample else output
                for row, output in zip(step.rows, outputs, strict=True)
            ]
            return step, drawn(step.rows, drawers, heads)
        hidden = outputs[0] if len(outputs) == 1 else mx.concatenate(list(outputs), axis=0)
        self._since_chunk += len(step.rows)
        if self._since_chunk <= running:
            return step, drawn(step.rows, drawers, by_row(self._head.whole(hidden)))
        rows = tuple(structs.replace(row, token=NO_TOKEN) for row in step.rows)
        self._waiting.append((rows, drawers, self._head.part(hidden)))
        return structs.replace(step, operation=Operation.HEAD, rows=rows), [hidden]

    def own(self) -> mx.array | None:
        """This stage's logits of the rows that began to wait last, lazy; None when none wait."""
        return self._waiting[-1][2] if self._waiting else None

    def join(self, step: Step, others: mx.array) -> list[mx.array]:
        """What the rows that waited longest draw. ``others``: the first stage's part of their logits.

        Raises `RingError` when the step is not of these rows."""
        if not self._waiting or self._waiting[0][0] != step.rows:
            due = [row.slot for row in self._waiting[0][0]] if self._waiting else "none"
            came = [row.slot for row in step.rows]
            raise RingError(
                f"step {step.number} brings logits for slots {came}, due are {due}", "start the ring again"
            )
        rows, drawers, logits = self._waiting.popleft()
        return drawn(rows, drawers, by_row(mx.concatenate([others, logits], axis=1)))
