"""One stage does each step, refuses one that does not fit what it holds, and several do what one does."""

from itertools import pairwise

import mlx.core as mx
import msgspec
import pytest
from msgspec import structs

from ringcore.cache.kinds import Holds
from ringcore.engine import prefix_steps
from ringcore.engine.prefix import Claim
from ringcore.engine.step import NO_TOKEN, Operation, Row, Step
from ringcore.rank.executor import Executor
from ringcore.rank.link import Message
from ringcore.spec.engine import Sampling
from ringcore.spec.errors import RingError
from ringcore.spec.shard import Shard
from tests.ring.alone import alone, prompt
from tests.ring.fake_rank import HIDDEN, FakeStage

LAYERS = 3


def opened(executors: list[Executor], slot: int, number: int = 1) -> None:
    run(executors, Step(Operation.OPEN, (Row(slot),), payload=msgspec.json.encode(Sampling()), number=number))


def run(executors: list[Executor], step: Step) -> Step:
    message = Message(step)
    for executor in executors:
        message = executor.perform(message)
    assert message.hidden is None
    return message.step


def stages(*bounds: int) -> list[Executor]:
    return [Executor(FakeStage(Shard(start, end, bounds[-1]))) for start, end in pairwise(bounds)]


def test_a_state_is_stored_at_the_block_s_end_or_not_at_all() -> None:
    executor = Executor(FakeStage(Shard(0, 3, 3)))
    executor._stage.holds = frozenset({Holds.STATE})
    opened([executor], 1)
    run([executor], Step(Operation.RUN, (Row(1, 9, 0, True),), tuple(prompt(9)), number=2))
    claim = Claim(0, (0,), (bytes(16),))
    (aside,) = prefix_steps.storing(1, claim, 8)
    with pytest.raises(RingError, match=r"STORE.* slot 1 from position 8, its cache here is at 9"):
        run([executor], Step(aside.operation, aside.rows, payload=aside.payload, number=3))


@pytest.mark.parametrize("bounds", [(0, 3), (0, 1, 3), (0, 1, 2, 3)], ids=str)
def test_any_cut_draws_the_same_tokens(bounds: tuple[int, ...]) -> None:
    executors, tokens = stages(*bounds), prompt(9)
    opened(executors, 1)
    step = run(executors, Step(Operation.RUN, (Row(1, 9, 0, True),), tuple(tokens), number=2))
    answer = [step.rows[0].token]
    while len(answer) < 6:
        row = Row(1, 1, 8 + len(answer), True, answer[-1])
        answer.append(run(executors, Step(Operation.RUN, (row,))).rows[0].token)
    assert answer == alone(LAYERS, tokens, 6)
    assert all(executor.tokens == 9 + 5 for executor in executors)
    assert all(executor.busy > 0 for executor in executors)


def test_rows_of_one_step_do_not_touch_each_other() -> None:
    executors = stages(0, 1, 3)
    for slot, number in ((0, 1), (2, 2)):
        opened(executors, slot, number)
    first, second = prompt(5, 1), prompt(8, 2)
    rows = (Row(0, 5, 0, True), Row(2, 8, 0, True))
    done = run(executors, Step(Operation.RUN, rows, (*first, *second), number=3))
    assert [row.token for row in done.rows] == [alone(LAYERS, tokens, 1)[0] for tokens in (first, second)]


def test_a_row_that_does_not_sample_brings_no_token_but_is_remembered() -> None:
    (executor,) = stages(0, 3)
    opened([executor], 0)
    step = run([executor], Step(Operation.RUN, (Row(0, 4, 0),), tuple(prompt(4)), number=2))
    assert step.rows[0].token == NO_TOKEN
    tokens = prompt(4)
    step = run([executor], Step(Operation.RUN, (Row(0, 1, 4, True, 9),), number=3))
    assert step.rows[0].token == alone(LAYERS, [*tokens, 9], 1)[0]


def test_a_drop_frees_the_caches_and_the_slot_can_be_opened_again() -> None:
    (executor,) = stages(0, 3)
    for number in (1, 4):
        assert executor.kv_bytes == executor.slots == 0
        opened([executor], 0, number)
        assert (executor.slots, executor.kv_bytes) == (1, 0)
        run([executor], Step(Operation.RUN, (Row(0, 4, 0),), (1, 2, 3, 4), number=number + 1))
        assert executor.kv_bytes == LAYERS * HIDDEN * 4
        run([executor], Step(Operation.DROP, (Row(0),), number=number + 2))
    assert executor.kv_bytes == executor.slots == 0


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (Step(Operation.RUN, (Row(1, 1, 0, True, 5),)), "step 8 (RUN) names slot 1, which is not open"),
        (Step(Operation.DROP, (Row(3),)), "step 8 (DROP) names slot 3, which is not open"),
        (Step(Operation.OPEN, (Row(0),), payload=b"{}"), "step 8 opens slot 0, which is in use"),
        (Step(Operation.RUN, (Row(0, 1, 3, True, 5),)), "slot 0 from position 3, its cache here is at 4"),
        (Step(Operation.RUN, (Row(0, 1, 5, True, 5),)), "slot 0 from position 5, its cache here is at 4"),
    ],
)
def test_a_step_that_does_not_fit_is_refused(step: Step, said: str) -> None:
    (executor,) = stages(0, 3)
    opened([executor], 0)
    run([executor], Step(Operation.RUN, (Row(0, 4, 0),), (1, 2, 3, 4), number=2))
    with pytest.raises(RingError) as caught:
        executor.perform(Message(structs.replace(step, number=8)))
    assert said in str(caught.value)


def test_a_step_says_the_longest_that_a_stage_worked_on_it() -> None:
    (executor,) = stages(0, 3)
    opened([executor], 0)
    step = Step(Operation.RUN, (Row(0, 2, 0),), (1, 2), number=2)
    assert 0 < executor.perform(Message(step)).step.microseconds < 3_600_000_000
    slower = structs.replace(step, rows=(Row(0, 2, 2),), microseconds=3_600_000_000)
    assert executor.perform(Message(slower)).step.microseconds == 3_600_000_000


def test_a_stage_in_the_middle_passes_everything_on_and_the_last_nothing() -> None:
    first, middle, last = stages(0, 1, 2, 3)
    step = Step(Operation.OPEN, (Row(0),), payload=b"{}", number=1)
    assert first.perform(Message(step)).step.payload == b"{}"
    assert middle.perform(Message(step)).step.payload == b"{}"
    assert last.perform(Message(step)).step.payload == b""
    begun = Step(Operation.RUN, (Row(0, 2, 0),), (4, 5), number=2)
    passed = first.perform(Message(begun))
    assert (passed.step.tokens, passed.step.rows) == ((), begun.rows)
    assert passed.hidden is not None
    assert (passed.hidden.shape, passed.hidden.dtype) == ((2, HIDDEN), mx.float32)
