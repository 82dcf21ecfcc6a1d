"""Percentiles against the library's own, spreads, gaps, and prompts that have nothing in common."""

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.bench.prompts import Prompts
from console.bench.statistics import Spread, gaps, percentile, spread

_floats = st.floats(-1e6, 1e6)


@given(st.lists(_floats, min_size=2, max_size=40))
def test_percentiles_are_those_of_the_standard_library(values: list[float]) -> None:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    for share in (1, 25, 50, 99):
        assert percentile(values, share / 100) == pytest.approx(cuts[share - 1], abs=1e-6)


@given(st.lists(_floats, min_size=1, max_size=40))
def test_a_spread_holds_every_value_and_its_median(values: list[float]) -> None:
    found = spread(values)
    assert found.count == len(values)
    assert found.low == min(values) and found.high == max(values)
    assert found.median == pytest.approx(statistics.median(values), abs=1e-6)


def test_nothing_has_no_percentile_and_an_empty_spread() -> None:
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)
    with pytest.raises(ValueError, match=r"0\.\.1"):
        percentile([1.0], 99)
    assert spread([]) == Spread(count=0, median=0.0, low=0.0, high=0.0)


def test_gaps_are_between_neighbours_within_the_window_only() -> None:
    assert gaps([1.0, 2.0, 4.0, 7.0], 2.0, 7.0) == [2.0, 3.0]
    assert gaps([1.0, 2.0, 4.0, 7.0], 1.5, 3.0) == []
    assert gaps([], 0.0, 9.0) == []


def test_prompts_begin_with_ids_of_their_own_and_stay_in_the_vocabulary() -> None:
    prompts = Prompts(200)
    taken = [prompts.take(12) for _ in range(100)]
    assert len({prompt[0] for prompt in taken}) == 100
    assert all(len(prompt) == 12 for prompt in taken)
    assert all(25 <= token < 175 for prompt in taken for token in prompt)


def test_prompts_of_one_seed_are_the_same_and_of_another_are_not() -> None:
    assert Prompts(50_000, seed=3).take(8) == Prompts(50_000, seed=3).take(8)
    assert Prompts(50_000, seed=3).take(8) != Prompts(50_000, seed=4).take(8)


def test_a_vocabulary_too_small_for_prompts_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary of 3"):
        Prompts(3)
