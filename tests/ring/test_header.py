"""The header says what it was given, and names each field that is not what it must be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine.step import NO_TOKEN, Operation, Row, Step
from ringcore.rank.header import MAGIC, Announced, Format, Payload, decode, encode, header_words
from ringcore.spec.errors import RingError

FORM = Format(epoch=3, plan=0x1234567, sequences=4, hidden_size=576, dtype="bfloat16", hop=2)
RUN = Step(
    Operation.RUN, (Row(slot=1, count=5, position=16, sample=True),), tokens=(9, 8, 7, 6, 5), number=41
)
NUMBER = 29  # of the message on its link
ROW = 14  # where the first row starts

rows = st.builds(
    Row,
    slot=st.integers(0, FORM.sequences - 1),
    count=st.integers(1, 1 << 12),
    position=st.integers(0, 1 << 20),
    sample=st.booleans(),
    token=st.integers(NO_TOKEN, 1 << 18),
)


@given(st.lists(rows, min_size=1, max_size=4), st.sampled_from([Payload.NONE, Payload.IDS, Payload.HIDDEN]))
def test_what_goes_in_comes_out(wanted: list[Row], payload: Payload) -> None:
    step = Step(Operation.RUN, tuple(wanted), number=7, microseconds=31_000)
    words = encode(step, payload, FORM, NUMBER)
    assert len(words) == header_words(FORM.sequences)
    assert all(-(1 << 31) <= word < 1 << 31 for word in words)
    found = decode(words, NUMBER, FORM)
    sizes = {Payload.NONE: 0, Payload.IDS: 4, Payload.HIDDEN: 2 * FORM.hidden_size}
    assert found == Announced(step, payload, sizes[payload] * step.token_count)


@pytest.mark.parametrize("operation", [Operation.PARK, Operation.STOP])
def test_steps_without_rows_come_out(operation: Operation) -> None:
    step = Step(operation, number=1)
    assert decode(encode(step, Payload.NONE, FORM, NUMBER), NUMBER, FORM) == Announced(step, Payload.NONE, 0)


def test_a_step_that_takes_an_hour_still_fits_its_word() -> None:
    slow = Step(Operation.STOP, number=1, microseconds=3_600_000_000)
    assert decode(encode(slow, Payload.NONE, FORM, NUMBER), NUMBER, FORM).step.microseconds == (1 << 31) - 1


def test_an_open_announces_its_bytes() -> None:
    step = Step(Operation.OPEN, (Row(0),), payload=b"{}", number=1)
    found = decode(encode(step, Payload.BYTES, FORM, NUMBER), NUMBER, FORM)
    assert (found.payload, found.payload_bytes) == (Payload.BYTES, 2)


@pytest.mark.parametrize(
    ("operation", "rows"),
    [
        (Operation.STORE, (Row(1, 128, 64),)),
        (Operation.LOAD, (Row(3, 640, 0),)),
        (Operation.FETCH, (Row(2, token=7),)),
        (Operation.FORGET, ()),
    ],
)
def test_steps_of_the_prefix_cache_come_out(operation: Operation, rows: tuple[Row, ...]) -> None:
    step = Step(operation, rows, payload=b"12345", number=1)
    found = decode(encode(step, Payload.BYTES, FORM, NUMBER), NUMBER, FORM)
    assert found == Announced(structs.replace(step, payload=b""), Payload.BYTES, 5)
    bare = Step(operation, rows, number=1)
    assert decode(encode(bare, Payload.NONE, FORM, NUMBER), NUMBER, FORM).payload is Payload.NONE


@pytest.mark.parametrize(
    ("word", "value", "named"),
    [
        (0, MAGIC + 1, "magic"),
        (12, -1, "time"),
        (13, 0, "step"),
        (1, 2, "epoch"),
        (1, 4, "epoch"),
        (2, 28, "number"),
        (2, 30, "number"),
        (3, 0, "operation"),
        (3, 99, "operation"),
        (4, 0, "rows"),
        (4, 5, "rows"),
        (4, -1, "rows"),
        (5, 9, "payload kind"),
        (5, int(Payload.BYTES), "payload kind"),
        (6, 19, "payload bytes"),
        (6, -1, "payload bytes"),
        (7, 6, "tokens"),
        (8, 576, "width"),
        (9, 3, "dtype"),
        (10, 0x1234568, "plan"),
        (11, 1, "sending stage"),
        (ROW, 4, "slot of row 0"),
        (ROW, -1, "slot of row 0"),
        (ROW + 1, 0, "tokens of row 0"),
        (ROW + 1, -5, "tokens of row 0"),
        (ROW + 2, -1, "position of row 0"),
        (ROW + 3, 2, "flags of row 0"),
    ],
)
def test_each_wrong_field_is_named_with_what_came(word: int, value: int, named: str) -> None:
    words = encode(RUN, Payload.IDS, FORM, NUMBER)
    assert decode(words, NUMBER, FORM).step == structs.replace(RUN, tokens=())
    words[word] = value
    with pytest.raises(RingError) as caught:
        decode(words, NUMBER, FORM)
    assert f"the wrong {named} " in str(caught.value)
    assert f"got {value}" in str(caught.value)
    assert caught.value.failure.remedy


@pytest.mark.parametrize(
    ("word", "value", "named"), [(8, 575, "width"), (9, 1, "dtype"), (6, 0, "payload bytes")]
)
def test_the_shape_of_hidden_states_must_be_the_plans(word: int, value: int, named: str) -> None:
    words = encode(RUN, Payload.HIDDEN, FORM, NUMBER)
    words[word] = value
    with pytest.raises(RingError, match=f"the wrong {named} "):
        decode(words, NUMBER, FORM)


@pytest.mark.parametrize(
    ("word", "value", "named"), [(8, 576, "width"), (9, 0, "dtype"), (6, 48, "payload bytes")]
)
def test_the_shape_of_logits_must_be_the_plans(word: int, value: int, named: str) -> None:
    shared = structs.replace(FORM, head_rows=24)
    step = Step(Operation.DRAW, (Row(0, 1, 5, True), Row(2, 1, 9, True)), number=41)
    words = encode(step, Payload.LOGITS, shared, NUMBER)
    assert decode(words, NUMBER, shared) == Announced(step, Payload.LOGITS, 2 * 24 * 2)
    words[word] = value
    with pytest.raises(RingError, match=f"the wrong {named} "):
        decode(words, NUMBER, shared)


@pytest.mark.parametrize("size", [0, -1, (1 << 16) + 1])
def test_bytes_of_an_impossible_size_are_not_waited_for(size: int) -> None:
    words = encode(Step(Operation.OPEN, (Row(0),), payload=b"{}", number=1), Payload.BYTES, FORM, NUMBER)
    words[6] = size
    with pytest.raises(RingError, match="the wrong payload bytes"):
        decode(words, NUMBER, FORM)


@pytest.mark.parametrize("operation", [Operation.DROP, Operation.PARK, Operation.STOP])
@pytest.mark.parametrize("payload", [Payload.IDS, Payload.HIDDEN, Payload.BYTES])
def test_what_carries_nothing_may_announce_nothing(operation: Operation, payload: Payload) -> None:
    row = (Row(0),) if operation is Operation.DROP else ()
    words = encode(Step(operation, row, number=1), Payload.NONE, FORM, NUMBER)
    words[5] = int(payload)
    with pytest.raises(RingError, match="the wrong payload kind"):
        decode(words, NUMBER, FORM)


def test_a_header_of_another_number_of_sequences_is_refused_by_its_length() -> None:
    words = encode(RUN, Payload.IDS, structs.replace(FORM, sequences=3), NUMBER)
    with pytest.raises(RingError, match="the wrong length"):
        decode(words, NUMBER, FORM)
