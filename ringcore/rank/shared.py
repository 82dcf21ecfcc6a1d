"""The leader's pipe where first and last stage share the head: a step that draws goes round twice.

What comes out of the layers goes to the first stage for its part of the logits, and these to the last,
which draws (`ringcore.rank.drawing`). To the engine that is one step still. Knows nothing of requests.
"""

from collections import deque

from msgspec import structs

from ringcore.engine.step import Operation, Step
from ringcore.rank.executor import Executor
from ringcore.rank.inbox import Inbox
from ringcore.rank.link import Link, Message


class SharedPipe:
    """A `Pipe`. ``last``: the leader has the last layers (order "reverse"), else the first ones."""

    def __init__(self, executor: Executor, link: Link, *, last: bool) -> None:
        self._executor = executor
        self._link = link
        self._inbox = Inbox(link)
        self._last = last
        self._issued: deque[Step] = deque()
        self._came: dict[int, Step] = {}  # by number, those that came before an older one

    def issue(self, step: Step) -> None:
        while not self._last and self._inbox.urgent:
            self._take()
        self._issued.append(step)
        self._put(Message(step))

    def collect(self) -> Step:
        step = self._issued[0]
        while step.number not in self._came:
            self._take()
        self._issued.popleft()
        return _as_issued(step, self._came.pop(step.number))

    @property
    def waited(self) -> float:
        return self._link.waited

    def _put(self, message: Message) -> None:
        if not self._last:
            message = self._executor.perform(message)
        self._link.send(message.step, message.hidden)

    def _take(self) -> None:
        message = self._inbox.receive()
        if self._last:
            message = self._executor.perform(message)
        if message.step.operation is Operation.HEAD:
            self._put(message)
            self._executor.afterwards()
        else:
            self._came[message.step.number] = message.step


def _as_issued(step: Step, came: Step) -> Step:
    """``came`` with the rows that the engine knows it by."""
    if came.operation is not Operation.DRAW:
        return came
    rows = tuple(
        structs.replace(row, token=drawn.token) for row, drawn in zip(step.rows, came.rows, strict=True)
    )
    return structs.replace(came, operation=step.operation, rows=rows)
