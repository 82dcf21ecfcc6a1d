"""The leader's way to put a step on the ring and to take it off again, for each place of the leader.

    LocalPipe   a ring of one: no link
    FirstPipe   order "forward": the leader runs its layers, then sends
    LastPipe    order "reverse": the leader sends ids, and runs its layers on what comes round

Steps come back in the order in which they were issued. All let the device work ahead
(`ringcore.rank.ahead`). Knows nothing of requests.
"""

from collections import deque
from typing import Protocol

from ringcore.engine.step import Step
from ringcore.rank.ahead import Ahead
from ringcore.rank.executor import Executor
from ringcore.rank.link import Link, Message


class Pipe(Protocol):
    def issue(self, step: Step) -> None:
        """Put a step on the ring. Raises `RingError`."""
        ...

    def collect(self) -> tuple[Step, float]:
        """Wait for the oldest step in flight; its rows carry the drawn tokens. And the seconds of compute
        that it took here. Raises `RingError`."""
        ...

    @property
    def waited(self) -> float:
        """Seconds spent in receive."""
        ...


class LocalPipe:
    waited = 0.0

    def __init__(self, executor: Executor) -> None:
        self._ahead = Ahead(executor)

    def issue(self, step: Step) -> None:
        self._ahead.begin(Message(step))

    def collect(self) -> tuple[Step, float]:
        done, seconds = self._ahead.finish()
        return done.step, seconds


class FirstPipe:
    def __init__(self, executor: Executor, link: Link) -> None:
        self._ahead = Ahead(executor)
        self._link = link
        self._seconds: deque[float] = deque()

    def issue(self, step: Step) -> None:
        self._ahead.begin(Message(step))
        if not self._ahead.open:
            self._pass_on()

    def collect(self) -> tuple[Step, float]:
        while self._ahead:
            self._pass_on()
        return self._link.receive().step, self._seconds.popleft()

    @property
    def waited(self) -> float:
        return self._link.waited

    def _pass_on(self) -> None:
        done, seconds = self._ahead.finish()
        self._seconds.append(seconds)
        self._link.send(done.step, done.hidden)


class LastPipe:
    def __init__(self, executor: Executor, link: Link) -> None:
        self._ahead = Ahead(executor)
        self._link = link

    def issue(self, step: Step) -> None:
        self._link.send(step)

    def collect(self) -> tuple[Step, float]:
        while not self._ahead or (self._ahead.open and self._link.waiting):
            self._ahead.begin(self._link.receive())
        done, seconds = self._ahead.finish()
        return done.step, seconds

    @property
    def waited(self) -> float:
        return self._link.waited
