"""Which rows wait for the other stage's part of the head, and what they draw when it comes."""

import mlx.core as mx
import pytest
from msgspec import structs

from ringcore.engine.step import NO_TOKEN, Operation, Row, Step
from ringcore.rank.drawing import Drawings
from ringcore.spec.errors import RingError
from tests.ring.fake_rank import HIDDEN, VOCABULARY, FakeHead

ROWS = 40
WHOLE = mx.random.normal((HIDDEN, VOCABULARY), key=mx.random.key(5))


class Greedy:
    def draw(self, logits: mx.array) -> mx.array:
        return mx.argmax(logits, axis=-1)


@pytest.fixture
def drawings() -> Drawings:
    return Drawings(FakeHead(WHOLE, slice(ROWS, None)))


def hidden_of(step: Step) -> mx.array:
    return mx.random.normal((len(step.rows), HIDDEN), key=mx.random.key(step.number))


def passed(drawings: Drawings, step: Step, running: int) -> Step:
    """``step`` through the layers: itself with its tokens, or a HEAD."""
    left, _ = drawings.after_layers(step, [Greedy()] * len(step.rows), [hidden_of(step)], running)
    return left


def decode(number: int, *slots: int) -> Step:
    return Step(Operation.RUN, tuple(Row(slot, 1, 9, True, 3) for slot in slots), number=number)


def chunk(number: int, *, last: bool = False) -> Step:
    return Step(Operation.RUN, (Row(7, 16, 0, last),), number=number)


@pytest.mark.parametrize("last", [False, True])
def test_nothing_is_shared_until_every_sequence_has_drawn_since_a_chunk(
    last: bool, drawings: Drawings
) -> None:
    run, head = Operation.RUN, Operation.HEAD
    for start in (0, 100):
        steps = [chunk(start + 1, last=last), decode(start + 2, 0, 1), decode(start + 3, 2, 3)]
        assert [passed(drawings, step, 4).operation for step in steps] == [run] * 3
        assert passed(drawings, decode(start + 4, 0, 1), 4).operation is head
        assert passed(drawings, decode(start + 5, 2, 3), 4).operation is head


def test_rows_draw_from_both_parts_in_the_order_in_which_they_left(drawings: Drawings) -> None:
    first, second = decode(1, 4, 2), decode(2, 3)
    heads = [passed(drawings, step, 0) for step in (first, second)]
    assert all(row.token == NO_TOKEN for head in heads for row in head.rows)
    for step, head in zip((first, second), heads, strict=True):
        hidden = hidden_of(step)
        tokens = drawings.join(structs.replace(head, operation=Operation.DRAW), hidden @ WHOLE[:, :ROWS])
        assert [token.item() for token in tokens] == mx.argmax(hidden @ WHOLE, axis=-1).tolist()
    assert drawings.own() is None


def test_logits_of_other_rows_or_of_none_are_refused(drawings: Drawings) -> None:
    head = passed(drawings, decode(1, 4, 2), 0)
    others = mx.zeros((1, ROWS))
    with pytest.raises(RingError, match=r"brings logits for slots \[4\], due are \[4, 2\]"):
        drawings.join(Step(Operation.DRAW, head.rows[:1], number=1), others)
    drawings.join(structs.replace(head, operation=Operation.DRAW), mx.zeros((2, ROWS)))
    with pytest.raises(RingError, match=r"slots \[4, 2\], due are none"):
        drawings.join(structs.replace(head, operation=Operation.DRAW), mx.zeros((2, ROWS)))
