"""What ranks say of themselves goes on to the gateway: late, the last of each; never more than it reads."""

from pathlib import Path
from typing import Any, cast

from ringcore.agent.gateway import Gateway
from ringcore.spec.control import GatewayReady
from ringcore.spec.events import StepCount


class FakeChild:
    def __init__(self) -> None:
        self.told: list[object] = []
        self.deaf = False

    def tell(self, message: object) -> None:
        self.told.append(message)


def steps(rank: int, count: int) -> StepCount:
    return StepCount(rank=rank, steps=count, tokens=0, in_flight=0, busy_seconds=0.0, link_seconds=0.0)


def test_a_gateway_that_comes_late_hears_the_last_of_each_rank_and_one_that_reads_nothing_is_spared() -> None:
    nothing: Any = None
    gateway = Gateway(Path(), nothing, nothing, lambda: None, lambda _failure: None)
    child = FakeChild()
    gateway.child = cast(Any, child)
    for event in (steps(0, 1), steps(0, 2), steps(1, 1)):
        gateway.tell(event)
    assert child.told == []
    gateway._hear(GatewayReady(url="http://127.0.0.1:1"))
    assert child.told == [steps(0, 2), steps(1, 1)]
    child.deaf = True
    gateway.tell(steps(0, 3))
    child.deaf = False
    gateway.tell(steps(0, 4))
    assert child.told[2:] == [steps(0, 4)]
