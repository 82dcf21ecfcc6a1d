"""Every order for blocks of other hosts is answered once: by the agents, or by the clock."""

import math

from ringcore.rank.brings import Brings
from ringcore.spec.control import BlocksElsewhere, Bring, Brought, Unwanted

NAMES = ("aa" * 16, "bb" * 16, "cc" * 16)


class Agent:
    """What `Control` is for `Brings`."""

    def __init__(self) -> None:
        self.sent: list[Bring] = []
        self.said: list[BlocksElsewhere | Brought] = []
        self.now = 10.0
        self.brings = Brings(self, lambda: self.now)

    def send(self, message: Bring) -> None:
        self.sent.append(message)

    def take_blocks(self) -> list[BlocksElsewhere | Brought]:
        taken, self.said = self.said, []
        return taken


def test_an_answer_is_passed_on_and_what_is_missing_counted() -> None:
    agent = Agent()
    order = Bring(id=1, blocks=NAMES, seconds=5)
    agent.brings.ask(order)
    assert agent.sent == [order] and agent.brings.heard() == []
    told, answer = BlocksElsewhere(blocks=((NAMES[0], 9),)), Brought(id=1, count=2, seconds=1)
    agent.said = [told, answer]
    assert agent.brings.heard() == [told, answer]
    assert agent.brings.missed == 1 and agent.brings.patience == math.inf


def test_without_an_answer_the_clock_gives_one_and_a_late_answer_is_dropped() -> None:
    agent = Agent()
    agent.brings.ask(Bring(id=1, blocks=NAMES, seconds=5))
    agent.now += 5
    assert agent.brings.heard() == [] and 0 < agent.brings.patience <= 1
    agent.now += 1
    (answer,) = agent.brings.heard()
    assert (answer.id, answer.count, answer.cause) == (1, 0, "the agent did not answer")
    assert agent.brings.missed == 3
    agent.said = [Brought(id=1, count=3, seconds=9)]
    assert agent.brings.heard() == [] and agent.brings.missed == 3


def test_what_nobody_waits_for_is_not_missed() -> None:
    agent = Agent()
    agent.brings.ask(Bring(id=1, blocks=NAMES, seconds=5))
    agent.brings.ask(Unwanted(id=1))
    assert agent.sent[-1] == Unwanted(id=1)
    agent.said = [Brought(id=1, count=1, cause="nobody waits for them")]
    assert len(agent.brings.heard()) == 1 and agent.brings.missed == 0
