"""The leader's way to put a step on the ring and to take it off again, for each place of the leader.

    LocalPipe   a ring of one: no link; results stay lazy until they are collected
    FirstPipe   order "forward": the leader runs its layers, then sends
    LastPipe    order "reverse": the leader sends ids, and runs its layers on what comes round

Steps come back in the order in which they were issued. Knows nothing of requests.
"""

import time
from collections import deque
from typing import Protocol

import mlx.core as mx
from msgspec import structs

from ringcore.engine.step import Step
from ringcore.rank.executor import Executor, finish
from ringcore.rank.link import Link, Message


class Pipe(Protocol):
    def issue(self, step: Step) -> None:
        """Put a step on the ring. Raises `RingError`."""
        ...

    def collect(self) -> Step:
        """Wait for the oldest step in flight; its rows carry the drawn tokens. Raises `RingError`."""
        ...

    @property
    def waited(self) -> float:
        """Seconds spent in receive."""
        ...


class LocalPipe:
    """Compute runs ahead of the answers: the next step is built while the device works on this one."""

    waited = 0.0

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._begun: deque[tuple[Step, list[mx.array]]] = deque()
        self._issued: deque[float] = deque()
        self._ended = 0.0

    def issue(self, step: Step) -> None:
        began = time.perf_counter()
        self._issued.append(began)
        begun = self._executor.begin(Message(step))
        mx.async_eval(begun[1])
        self._begun.append(begun)
        self._executor.busy += time.perf_counter() - began

    def collect(self) -> Step:
        began = max(time.perf_counter(), self._ended)
        step, arrays = self._begun.popleft()
        mx.eval(arrays)
        now = time.perf_counter()
        self._executor.busy += now - began
        # The device began with it when it was done with the one before.
        seconds, self._ended = now - max(self._ended, self._issued.popleft()), now
        return finish(structs.replace(step, microseconds=int(1e6 * seconds)), arrays)


class FirstPipe:
    def __init__(self, executor: Executor, link: Link) -> None:
        self._executor = executor
        self._link = link

    def issue(self, step: Step) -> None:
        done = self._executor.perform(Message(step))
        self._link.send(done.step, done.hidden)

    def collect(self) -> Step:
        return self._link.receive().step

    @property
    def waited(self) -> float:
        return self._link.waited


class LastPipe:
    def __init__(self, executor: Executor, link: Link) -> None:
        self._executor = executor
        self._link = link

    def issue(self, step: Step) -> None:
        self._link.send(step)

    def collect(self) -> Step:
        return self._executor.perform(self._link.receive()).step

    @property
    def waited(self) -> float:
        return self._link.waited
