"""Messages over a wire of our own: what is sent is what is received, or the link says what is wrong."""

from collections import deque

import mlx.core as mx
import pytest
from msgspec import structs

from ringcore.engine.logprobs import pack
from ringcore.engine.opening import MAX_OPEN_BYTES
from ringcore.engine.step import Operation, Row, Step
from ringcore.planning.head import MOST_HIDDEN_BYTES
from ringcore.rank.header import Format
from ringcore.rank.link import WRAP_BYTES, Link, max_in_flight, max_prompt_tokens
from ringcore.spec.engine import MAX_TOP_LOGPROBS
from ringcore.spec.errors import RingError

HIDDEN = 32
FORM = Format(epoch=1, plan=5, sequences=4, hidden_size=HIDDEN, dtype="float32", hop=0)
OTHER = structs.replace(FORM, hop=1)


class Wire:
    """Both ends: arrays lie in a row. Like MLX's links it fills what is asked for with whatever comes."""

    def __init__(self) -> None:
        self.arrays: deque[mx.array] = deque()

    def send(self, array: mx.array) -> None:
        mx.eval(array)
        self.arrays.append(array)

    @property
    def waiting(self) -> bool:
        return bool(self.arrays)

    def receive(self, shape: tuple[int, ...], dtype: mx.Dtype) -> mx.array:
        array = self.arrays.popleft()
        assert (array.shape, array.dtype) == (shape, dtype)
        return array


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def link(wire: Wire) -> Link:
    """A loop: it receives what it sends."""
    return Link(wire, FORM, FORM)


def test_ids_of_a_prompt_travel_behind_the_header(link: Link, wire: Wire) -> None:
    step = Step(Operation.RUN, (Row(0, 3),), tokens=(7, 8, 9), number=1)
    link.send(step)
    assert len(wire.arrays) == 2
    assert link.receive().step == step


def test_a_single_token_travels_in_its_row(link: Link, wire: Wire) -> None:
    step = Step(Operation.RUN, (Row(0, 1, 9, True, 77),), number=1)
    link.send(step)
    assert len(wire.arrays) == 1
    assert link.receive().step.ids == (77,)


def test_hidden_states_arrive_as_they_were(link: Link) -> None:
    hidden = mx.random.normal((5, HIDDEN))
    step = Step(Operation.RUN, (Row(0, 2), Row(1, 3)), number=1)
    link.send(step, hidden)
    message = link.receive()
    assert message.step == step
    assert message.hidden is not None
    assert mx.array_equal(message.hidden, hidden)


def test_logits_of_a_shared_head_arrive_as_they_were(wire: Wire) -> None:
    link = Link(wire, *[structs.replace(FORM, head_rows=24)] * 2)
    logits = mx.random.normal((2, 24))
    step = Step(Operation.DRAW, (Row(0, 1, 5, True), Row(1, 1, 9, True)), number=1)
    link.send(step, logits)
    message = link.receive()
    assert message.step == step
    assert message.hidden is not None
    assert mx.array_equal(message.hidden, logits)


def test_bytes_of_an_open_arrive_as_they_were(link: Link) -> None:
    step = Step(Operation.OPEN, (Row(2),), payload=bytes(range(256)), number=1)
    link.send(step)
    assert link.receive().step == step


def test_log_probabilities_arrive_with_the_tokens_as_they_were(link: Link) -> None:
    rows = (Row(0, 1, 4, True, 9), Row(3, 1, 8, True, 5))
    step = Step(Operation.RUN, rows, payload=pack([[1, 2, 3], []]), number=1)
    link.send(step)
    assert link.receive().step == step


def test_many_messages_keep_their_order_and_the_wait_is_counted(link: Link) -> None:
    for number in range(1, 20):
        link.send(Step(Operation.PARK, number=number))
    assert [link.receive().step.number for _ in range(1, 20)] == list(range(1, 20))
    assert link.waited > 0


@pytest.mark.parametrize(("arrived", "number"), [([0, 0], 1), ([0, 2], 3)], ids=["doubled", "lost"])
def test_a_message_that_is_lost_or_doubled_is_noticed(
    arrived: list[int], number: int, link: Link, wire: Wire
) -> None:
    for step in (1, 2, 3):
        link.send(Step(Operation.PARK, number=step))
    sent = list(wire.arrays)
    wire.arrays = deque(sent[at] for at in arrived)
    link.receive()
    with pytest.raises(RingError, match=f"the wrong number .* got {number}, expected 2"):
        link.receive()


def test_what_comes_from_the_wrong_stage_is_noticed(wire: Wire) -> None:
    Link(wire, FORM, OTHER).send(Step(Operation.PARK, number=1))
    with pytest.raises(RingError, match="the wrong sending stage"):
        Link(wire, FORM, FORM).receive()


def on_the_wire(stages: int, sequences: int, last: Step) -> int:
    """Bytes when every step in flight has its header on the wrap link, and ``last`` its payload."""
    wire = Wire()
    form = structs.replace(FORM, sequences=sequences)
    link = Link(wire, form, form)
    for number in range(1, max_in_flight(stages)):
        link.send(Step(Operation.RUN, (Row(0, 1),), number=number))
    link.send(structs.replace(last, number=max_in_flight(stages)))
    return sum(array.nbytes for array in wire.arrays)


@pytest.mark.parametrize("stages", range(2, 9))
@pytest.mark.parametrize("sequences", [1, 4, 16, 64, 256])
def test_the_wrap_link_never_carries_more_than_its_bound(stages: int, sequences: int) -> None:
    tokens = max_prompt_tokens(stages, sequences)
    prompts = Step(Operation.RUN, (Row(0, tokens),), tokens=(1,) * tokens)
    assert on_the_wire(stages, sequences, prompts) <= WRAP_BYTES
    openings = Step(Operation.OPEN, (Row(0),), payload=b"x" * (4 * tokens))
    assert on_the_wire(stages, sequences, openings) <= WRAP_BYTES
    # The other order: every sequence's token comes back with all the log-probabilities there can be.
    one = [1] * (1 + 2 * MAX_TOP_LOGPROBS)
    answers = Step(Operation.RUN, (Row(0, 1),), payload=pack([one] * sequences))
    assert on_the_wire(stages, sequences, answers) <= WRAP_BYTES
    assert tokens >= MAX_OPEN_BYTES // 4 >= 2048


@pytest.mark.parametrize("sequences", [1, 4, 16, 64, 128, 208, 209, 256])
def test_what_may_share_its_head_has_room_on_the_wrap_link(sequences: int) -> None:
    head_bytes = MOST_HIDDEN_BYTES // sequences
    tokens = max_prompt_tokens(2, sequences, head_bytes)
    assert tokens >= MAX_OPEN_BYTES // 4
    hidden = sequences * head_bytes
    prompts = Step(Operation.RUN, (Row(0, tokens),), tokens=(1,) * tokens)
    assert on_the_wire(2, sequences, prompts) + hidden <= WRAP_BYTES
    one = [1] * (1 + 2 * MAX_TOP_LOGPROBS)
    # The other order: rows bring hidden states, and these or those later their log-probabilities.
    for answered in (0, sequences // 2, sequences):
        answers = Step(Operation.RUN, (Row(0, 1),), payload=pack([one] * answered))
        waiting = (sequences - answered) * head_bytes
        assert on_the_wire(2, sequences, answers) + waiting <= WRAP_BYTES


def test_a_ring_whose_headers_alone_pass_the_bound_is_refused_with_the_numbers() -> None:
    with pytest.raises(RingError, match="100 ranks with 16 sequences need"):
        max_prompt_tokens(100, 16)
