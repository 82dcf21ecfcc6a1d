"""Steps begun on this stage and not finished: the device works on one while the next is received and built.

Knows nothing of links, nor who asks.
"""

import time
from collections import deque

import mlx.core as mx

from ringcore.engine.step import Operation, Step
from ringcore.rank.executor import Executor
from ringcore.rank.link import Message

_LAST = (Operation.PARK, Operation.STOP)  # after them nothing may be received
_MOST = 2  # a third would wait, and gain nothing


class Ahead:
    """Steps finish in the order in which they began."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._begun: deque[tuple[Step, list[mx.array], float]] = deque()
        self._ended = 0.0

    def __len__(self) -> int:
        return len(self._begun)

    @property
    def open(self) -> bool:
        """Whether one more step should begin before the oldest is finished."""
        return len(self._begun) < _MOST and not (self._begun and self._begun[-1][0].operation in _LAST)

    def begin(self, message: Message) -> None:
        """Raises `RingError` when the step does not fit what is here."""
        began = time.perf_counter()
        step, arrays = self._executor.begin(message)
        mx.async_eval(arrays)
        self._begun.append((step, arrays, began))

    def finish(self) -> tuple[Message, float]:
        """Wait for the oldest: what `Executor.perform` returns, and the seconds of work that it took here."""
        step, arrays, began = self._begun.popleft()
        mx.eval(arrays)
        now = time.perf_counter()
        # The device began with it when it was done with the one before.
        seconds, self._ended = now - max(self._ended, began), now
        self._executor.busy += seconds
        return self._executor.done(step, arrays), seconds
