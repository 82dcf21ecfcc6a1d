"""Logits overtake rows that wait for layers; everything else keeps its order."""

from collections import deque
from typing import cast

from ringcore.engine.step import Operation, Row, Step
from ringcore.rank.inbox import Inbox
from ringcore.rank.link import Link, Message


class Arriving:
    """A link on which messages come in bursts: the next burst only when all before it were taken."""

    def __init__(self, *bursts: list[tuple[Operation, int]]) -> None:
        self._bursts = deque(deque(burst) for burst in bursts)

    @property
    def waiting(self) -> bool:
        return bool(self._bursts and self._bursts[0])

    def receive(self) -> Message:
        if not self.waiting:
            self._bursts.popleft()
        operation, number = self._bursts[0].popleft()
        return Message(Step(operation, (Row(0, 1),), number=number))


def order(inbox: Inbox, count: int) -> list[int]:
    return [inbox.receive().step.number for _ in range(count)]


def test_what_waits_for_its_token_goes_first_and_the_rest_as_it_came() -> None:
    run, head, drop = Operation.RUN, Operation.HEAD, Operation.DROP
    link = Arriving([(run, 3), (drop, 4), (head, 1), (run, 5), (head, 2)], [(head, 6)], [(run, 7)])
    inbox = Inbox(cast(Link, link))
    assert order(inbox, 7) == [1, 2, 3, 4, 5, 6, 7]


def test_urgent_says_whether_something_overtakes_and_takes_nothing_out() -> None:
    link = Arriving([(Operation.RUN, 1)], [(Operation.DRAW, 2)])
    inbox = Inbox(cast(Link, link))
    assert not inbox.urgent
    assert order(inbox, 1) == [1]
    link._bursts.popleft()
    assert inbox.urgent and inbox.urgent
    assert order(inbox, 1) == [2]
