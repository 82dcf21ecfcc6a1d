"""Blocks are brought from other hosts only where that takes less time than computing them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringcore.engine.worth import (
    ASSUMED_BYTES_PER_SECOND,
    ASSUMED_SECONDS_PER_TOKEN,
    FIXED_SECONDS,
    Worth,
)

sizes = st.integers(1, 1 << 40)
counts = st.integers(1, 1 << 20)
rates = st.floats(1e3, 1e11)
paces = st.floats(1e-6, 10)


@given(sizes, counts, rates, paces)
def test_moving_pays_exactly_where_it_takes_less_time(
    size: int, tokens: int, rate: float, pace: float
) -> None:
    choice = Worth(rate).choice(size, tokens, pace)
    assert choice.pays == (FIXED_SECONDS + size / rate < tokens * pace)


@given(sizes, counts, rates, paces, st.floats(1, 100))
def test_what_pays_still_pays_with_fewer_bytes_a_faster_link_or_slower_ranks(
    size: int, tokens: int, rate: float, pace: float, factor: float
) -> None:
    if Worth(rate).choice(size, tokens, pace).pays:
        assert Worth(rate).choice(max(1, int(size / factor)), tokens, pace).pays
        assert Worth(rate * factor).choice(size, tokens, pace).pays
        assert Worth(rate).choice(size, tokens, pace * factor).pays


@given(sizes, counts, rates, paces)
def test_the_wait_has_an_end_and_costs_no_more_than_computing_or_a_second(
    size: int, tokens: int, rate: float, pace: float
) -> None:
    choice = Worth(rate).choice(size, tokens, pace)
    assert 1 <= choice.limit <= 30
    assert choice.limit <= max(1, choice.computing)


@given(sizes, sizes, counts, rates, paces)
def test_what_comes_first_for_others_counts_as_if_it_were_moved_too(
    size: int, ahead: int, tokens: int, rate: float, pace: float
) -> None:
    choice, all_of_it = (
        Worth(rate).choice(size, tokens, pace, ahead),
        Worth(rate).choice(size + ahead, tokens, pace),
    )
    assert (choice.moving, choice.limit, choice.size) == (all_of_it.moving, all_of_it.limit, size)


def test_before_anything_was_measured_both_are_assumed() -> None:
    choice = Worth().choice(5_000_000, 400, 0.0)
    assert choice.computing == 400 * ASSUMED_SECONDS_PER_TOKEN
    assert choice.moving == FIXED_SECONDS + 5_000_000 / ASSUMED_BYTES_PER_SECOND
    assert str(choice) == "400 tokens: 4.8 MiB from other hosts take about 0.20 s, computing 2.00 s"


@given(rates, st.lists(st.tuples(st.integers(0, 1 << 40), st.floats(0, 1e4)), max_size=9))
def test_the_rate_stays_a_rate_whatever_was_measured(rate: float, moves: list[tuple[int, float]]) -> None:
    worth = Worth(rate)
    for size, seconds in moves:
        worth.moved(size, seconds)
        assert worth.bytes_per_second >= 0
    assert worth.choice(1, 1, 1.0).moving >= FIXED_SECONDS


def test_a_link_that_brought_little_is_trusted_less_and_one_that_brought_much_more() -> None:
    slow, fast = Worth(1e8), Worth(1e8)
    for _ in range(12):
        slow.moved(100_000, 1.1)
        fast.moved(1_000_000_000, 1.1)
    assert slow.bytes_per_second == pytest.approx(1e5, rel=0.5)
    assert fast.bytes_per_second == pytest.approx(1e9, rel=0.01)
