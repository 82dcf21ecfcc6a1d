"""Draws follow the distribution that was asked for, and depend on seed and position alone."""

from collections import Counter

import mlx.core as mx
import pytest

from ringcore.engine.sampler import draw, mix
from ringcore.spec.engine import Sampling

PROBABILITIES = [0.5, 0.25, 0.15, 0.06, 0.04]
LOGITS = mx.log(mx.array([PROBABILITIES]))
DRAWS = 1500


def draws(count: int = DRAWS, **fields: float) -> Counter[int]:
    sampling = Sampling(**{"temperature": 1.0, "seed": 11, **fields})
    found = mx.concatenate([draw(LOGITS, sampling, position) for position in range(count)])
    return Counter(found.tolist())


def test_temperature_zero_is_the_likeliest_whatever_else_is_asked() -> None:
    sampling = Sampling(temperature=0.0, top_p=0.1, top_k=3, min_p=0.5, seed=4)
    assert draw(mx.array([[0.1, 3.0, 2.9]]), sampling, 0).tolist() == [1]
    assert draw(LOGITS, sampling, 5).dtype == mx.int32


def test_the_coldest_temperature_there_is_draws_the_likeliest() -> None:
    assert draws(50, temperature=1e-300) == {0: 50}


def test_draws_at_temperature_one_follow_the_probabilities() -> None:
    found = draws()
    for token, probability in enumerate(PROBABILITIES):
        assert found[token] / DRAWS == pytest.approx(probability, abs=0.05)


def test_a_low_temperature_sharpens_and_a_high_one_flattens() -> None:
    assert draws(400, temperature=0.3)[0] > draws(400)[0] > draws(400, temperature=5.0)[0]


def test_logits_need_not_be_normalised() -> None:
    sampling = Sampling(temperature=1.0, seed=3, top_p=0.7, min_p=0.1)
    shifted = [draw(LOGITS + 90, sampling, position).item() for position in range(50)]
    assert shifted == [draw(LOGITS, sampling, position).item() for position in range(50)]


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ({"top_k": 1}, {0}),
        ({"top_k": 2}, {0, 1}),
        ({"top_k": 5}, {0, 1, 2, 3, 4}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.4}, {0}),
        ({"top_p": 0.7}, {0, 1}),
        ({"top_p": 0.93}, {0, 1, 2, 3}),
        ({"min_p": 0.4}, {0, 1}),
        ({"min_p": 0.29}, {0, 1, 2}),
        ({"top_p": 0.93, "top_k": 2}, {0, 1}),
    ],
    ids=str,
)
def test_only_tokens_that_the_filter_keeps_are_drawn(fields: dict[str, float], kept: set[int]) -> None:
    assert set(draws(**fields)) == kept


def test_one_seed_and_position_always_draw_the_same() -> None:
    sampling = Sampling(temperature=1.0, seed=5)
    forwards = [draw(LOGITS, sampling, position).item() for position in range(30)]
    backwards = [draw(LOGITS, sampling, position).item() for position in reversed(range(30))]
    assert forwards == backwards[::-1]


def test_another_seed_draws_otherwise_and_no_seed_follows_its_neighbour() -> None:
    rows = [
        [draw(LOGITS, Sampling(temperature=1.0, seed=seed), position).item() for position in range(60)]
        for seed in range(4)
    ]
    assert len({tuple(row) for row in rows}) == 4
    assert all(rows[0][shift:40] != rows[1][: 40 - shift] for shift in range(5))


def test_the_keys_of_many_seeds_and_positions_are_all_different() -> None:
    assert len({mix(seed, position) for seed in range(100) for position in range(200)}) == 20_000
    assert all(0 <= mix(seed, 3) < 1 << 64 for seed in (-1, 1 << 48, 1 << 63, 1 << 70))
