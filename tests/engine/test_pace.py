"""Chunks beside answers: as long as a bounded part of the answers' own time."""

import pytest

from ringcore.engine.pace import FIRST_CHUNK, SHARE, Pace


def measured(step: float, token: float) -> Pace:
    pace = Pace()
    for _ in range(50):
        pace.decoded(step)
        pace.prefilled(100, 100 * token)
    return pace


def test_a_chunk_takes_a_share_of_a_round_of_all_groups() -> None:
    assert measured(step=0.1, token=0.05).chunk(4) == int(SHARE * 4 * 0.1 / 0.05)


def test_where_prompts_are_cheap_chunks_are_long() -> None:
    assert measured(step=0.01, token=0.0001).chunk(1) == 125


def test_a_chunk_has_at_least_one_token() -> None:
    assert measured(step=0.001, token=10.0).chunk(1) == 1


def test_before_anything_was_measured_chunks_are_short() -> None:
    pace = Pace()
    assert pace.chunk(4) == FIRST_CHUNK
    pace.decoded(0.1)
    assert pace.chunk(4) == FIRST_CHUNK


def test_one_odd_measurement_moves_it_a_little_and_a_lasting_change_wins() -> None:
    pace = measured(step=0.1, token=0.1)
    before = pace.chunk(10)
    pace.decoded(1.0)
    assert before < pace.chunk(10) < 10 * before
    for _ in range(50):
        pace.decoded(1.0)
    assert pace.chunk(10) == pytest.approx(10 * before, rel=0.1)
