"""A stage begins its next step before the one before is finished, and gives the same answers."""

import msgspec
import pytest

from ringcore.engine.step import Operation, Row, Step
from ringcore.rank.ahead import Ahead
from ringcore.rank.executor import Executor
from ringcore.rank.link import Message
from ringcore.spec.engine import Sampling
from ringcore.spec.shard import Shard
from tests.ring.alone import alone, prompt
from tests.ring.fake_rank import FakeStage

LAYERS = 3
REST = pytest.mark.parametrize("operation", [Operation.PARK, Operation.STOP])


@pytest.fixture
def ahead() -> Ahead:
    return Ahead(Executor(FakeStage(Shard(0, LAYERS, LAYERS))))


def opening(slot: int, number: int) -> Message:
    return Message(Step(Operation.OPEN, (Row(slot),), payload=msgspec.json.encode(Sampling()), number=number))


def chunk(slot: int, tokens: list[int], position: int, sample: bool, number: int) -> Message:
    row = Row(slot, len(tokens), position, sample)
    return Message(Step(Operation.RUN, (row,), tuple(tokens), number=number))


def test_steps_finish_in_the_order_in_which_they_began_with_what_one_alone_gives(ahead: Ahead) -> None:
    tokens = prompt(12)
    messages = [opening(0, 1), chunk(0, tokens[:7], 0, False, 2), chunk(0, tokens[7:], 7, True, 3)]
    done: list[Step] = []
    for message in messages:
        if not ahead.open:
            done.append(ahead.finish()[0].step)
        ahead.begin(message)
    while ahead:
        done.append(ahead.finish()[0].step)
    assert [step.number for step in done] == [1, 2, 3]
    assert done[-1].rows[0].token == alone(LAYERS, tokens, 1)[0]


def test_no_more_than_two_begin_before_the_first_is_finished(ahead: Ahead) -> None:
    ahead.begin(opening(0, 1))
    assert ahead.open
    ahead.begin(opening(1, 2))
    assert not ahead.open
    ahead.finish()
    assert ahead.open and len(ahead) == 1


@REST
def test_nothing_begins_after_a_step_after_which_nothing_comes(ahead: Ahead, operation: Operation) -> None:
    ahead.begin(Message(Step(operation, number=1)))
    assert not ahead.open
    ahead.finish()
    assert ahead.open


def test_time_counts_once_where_two_steps_overlap() -> None:
    executor = Executor(FakeStage(Shard(0, LAYERS, LAYERS)))
    ahead = Ahead(executor)
    ahead.begin(opening(0, 1))
    ahead.finish()
    ahead.begin(chunk(0, prompt(5), 0, False, 2))
    ahead.begin(chunk(0, prompt(5), 5, True, 3))
    seconds = [ahead.finish()[1] for _ in range(2)]
    assert all(each > 0 for each in seconds)
    assert executor.busy >= sum(seconds)
