"""Log-probabilities are the model's own whatever else is asked, and survive the way as words."""

import math
import struct
from typing import Any

import mlx.core as mx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringcore.engine.logprobs import MAX_ROW_BYTES, pack, unpack
from ringcore.engine.opening import Opening
from ringcore.engine.sampler import LEAST_LOGPROB, Sampler
from ringcore.spec.engine import MAX_TOP_LOGPROBS, Logprobs

VOCABULARY = 50
LOGITS = 4 * mx.random.normal((1, VOCABULARY), key=mx.random.key(8))
EXPECTED = [
    value - math.log(sum(math.exp(other) for other in LOGITS[0].tolist())) for value in LOGITS[0].tolist()
]


def drawn(**fields: Any) -> tuple[int, Logprobs]:
    token, *words = Sampler(Opening(seed=3, **fields)).draw(LOGITS, 7).words.tolist()
    (found,) = unpack(pack([words]), 1)
    assert found is not None
    return token, found


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"temperature": 1.5},
        {"temperature": 1.0, "top_k": 2, "top_p": 0.5, "min_p": 0.2},
        {"logit_bias": {4: 100.0}},
        {"repetition_penalty": 1.8, "tail": tuple(range(20)), "presence_penalty": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("count", [0, 1, 5, 20])
def test_they_are_the_models_own_before_everything_that_changes_the_draw(
    count: int, fields: dict[str, Any]
) -> None:
    token, found = drawn(logprobs=count, **fields)
    assert found.drawn == pytest.approx(EXPECTED[token], abs=1e-4)
    likeliest = sorted(range(VOCABULARY), key=lambda other: -EXPECTED[other])[:count]
    assert [other for other, _ in found.top] == likeliest
    assert [value for _, value in found.top] == pytest.approx([EXPECTED[i] for i in likeliest], abs=1e-4)


def test_asking_for_them_changes_no_token() -> None:
    for position in range(30):
        plain, asked = (
            Sampler(Opening(temperature=1.2, seed=5, logprobs=count)).draw(LOGITS, position)
            for count in (None, 20)
        )
        assert plain.words.tolist() == plain.token.tolist() == asked.token.tolist()


def test_more_than_the_vocabulary_has_are_all_of_it() -> None:
    words = Sampler(Opening(logprobs=20)).draw(mx.array([[1.0, 2.0, 3.0]]), 0).words.tolist()
    (found,) = unpack(pack([words[1:]]), 1)
    assert found is not None
    assert [token for token, _ in found.top] == [2, 1, 0]


def test_a_token_that_cannot_be_has_a_number_that_json_has_too() -> None:
    logits = mx.array([[1.0, -math.inf, 2.0, -math.inf]])
    _, *words = Sampler(Opening(logprobs=4)).draw(logits, 0).words.tolist()
    (found,) = unpack(pack([words]), 1)
    assert found is not None
    assert [value for _, value in found.top[2:]] == [LEAST_LOGPROB] * 2


FLOATS = st.floats(width=32, allow_nan=False)
ROWS = st.lists(
    st.none()
    | st.builds(
        Logprobs,
        FLOATS,
        st.lists(st.tuples(st.integers(0, 2**31 - 1), FLOATS), max_size=MAX_TOP_LOGPROBS).map(tuple),
    ),
    min_size=1,
    max_size=16,
)


@given(ROWS)
def test_every_row_comes_back_as_it_was(rows: list[Logprobs | None]) -> None:
    def words(found: Logprobs) -> list[int]:
        ids, values = [token for token, _ in found.top], [value for _, value in found.top]
        n = len(ids)
        return list(struct.unpack(f"<{1 + 2 * n}i", struct.pack(f"<f{n}i{n}f", found.drawn, *ids, *values)))

    payload = pack([words(row) if row else [] for row in rows])
    assert unpack(payload, len(rows)) == rows
    assert len(payload) <= MAX_ROW_BYTES * len(rows)
    assert bool(payload) == any(row is not None for row in rows)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_payload_for_other_rows_is_not_read(rows: int) -> None:
    with pytest.raises(struct.error):
        unpack(pack([[1, 2, 3], [4]]), rows)
