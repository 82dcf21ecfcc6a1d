"""Sixteen requests of mixed lengths at once on real rings of a dense model: each answers as alone."""

from pathlib import Path

import pytest

from tests.agent.harness import planned
from tests.models.running import greedy_by_mlx_lm
from tests.models.small import VOCABULARY, build
from tests.ring.harness import REAL, Ring

LENGTHS = (1, 40, 7, 130, 16, 33, 2, 75, 9, 64, 21, 5, 100, 12, 3, 50)
COUNT = 20


def prompt(number: int) -> list[int]:
    return [(37 * i * (number + 1) + 11 * number + 3) % VOCABULARY for i in range(LENGTHS[number])]


@pytest.mark.parametrize(
    ("counts", "order", "head_rows"),
    [
        ([5], "reverse", 0),
        ([2, 3], "reverse", 0),
        ([1, 3, 1], "forward", 0),
        ([2, 3], "reverse", 128),
        ([2, 3], "forward", 64),
    ],
    ids=["one", "two", "three-forward", "two that share the head", "two that share the head, forward"],
)
def test_each_of_sixteen_requests_answers_as_alone(
    counts: list[int], order: str, head_rows: int, tmp_path: Path
) -> None:
    folder = build("llama", tmp_path / "model", layers=5, tie_word_embeddings=True)
    plan = planned(folder, counts, order=order, sequences=8, prefill_chunk=32, head_rows=head_rows)
    with Ring(plan, module=REAL, model=folder) as ring:
        for number in range(len(LENGTHS)):
            ring.submit(str(number), prompt(number), COUNT - number % 5)
        for number in range(len(LENGTHS)):
            ring.finished(str(number))
        steps = max(rank.steps[-1].steps for rank in ring.ranks)
    for number in range(len(LENGTHS)):
        expected = greedy_by_mlx_lm(folder, prompt(number), COUNT - number % 5)
        assert ring.tokens(str(number)) == expected, number
    tokens = sum(COUNT - number % 5 for number in range(len(LENGTHS)))
    assert steps < tokens, "sequences did not decode together"
