"""Every way of drawing gives the same tokens in one process, on any ring, alone and beside the others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.utils import load_model

from ringcore.spec.engine import Token
from tests.models.small import VOCABULARY as SMALL_VOCABULARY
from tests.models.small import build
from tests.ring.alone import alone, prompt, with_logits
from tests.ring.fake_rank import VOCABULARY
from tests.ring.harness import REAL, Ring, make_plan
from tests.ring.test_greedy import measured

LAYERS = 4
ANSWER = 24
# The fake model is sure of itself: its logits are tens apart, so the options are strong here.
SEEDED: dict[str, Any] = {"temperature": 9.0, "seed": 77}
BIAS = {token: (-1) ** token * (token % 7) * 4.0 for token in range(VOCABULARY)}
OPTIONS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "temperature": SEEDED,
    "top_p": {**SEEDED, "top_p": 0.6},
    "top_k": {**SEEDED, "top_k": 3},
    "min_p": {**SEEDED, "min_p": 0.3},
    "repetition": {"repetition_penalty": 1.9},
    "repetition, seeded": {**SEEDED, "repetition_penalty": 1.9, "repetition_context": 64},
    "presence": {"presence_penalty": 15.0},
    "presence, seeded": {**SEEDED, "presence_penalty": -9.0},
    "frequency": {"frequency_penalty": 14.0},
    "frequency, seeded": {**SEEDED, "frequency_penalty": 9.0},
    "bias": {"logit_bias": BIAS},
    "bias, seeded": {**SEEDED, "logit_bias": BIAS},
    "logprobs": {"logprobs": 5},
    "everything": {
        **SEEDED, "top_p": 0.95, "top_k": 40, "min_p": 0.01, "repetition_penalty": 1.2,
        "presence_penalty": 5.0, "frequency_penalty": 3.0, "logit_bias": BIAS, "logprobs": 20,
    },
}  # fmt: skip
RINGS = [([4], "reverse", 0), ([2, 2], "reverse", 0), ([1, 3], "forward", 0), ([1, 2, 1], "reverse", 0),
         ([1, 1, 2], "forward", 0), ([2, 2], "reverse", 50), ([1, 3], "forward", 40)]  # fmt: skip


@pytest.fixture(
    scope="module", params=RINGS, ids=lambda ring: f"{len(ring[0])} {' '.join(map(str, ring[1:]))}"
)
def ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    counts, order, head_rows = request.param
    with Ring(make_plan(counts, order=order, sequences=6, head_rows=head_rows)) as found:
        yield found


def heard(ring: Ring, name: str) -> list[Token]:
    return ring.messages(Token, name)


def expect_logprobs(
    found: list[Token], prompt: list[int], sampling: dict[str, Any], within: float = 1e-4
) -> None:
    """As they are in one process, from the logits that nothing has changed."""
    count = sampling.get("logprobs")
    if count is None:
        assert all(token.logprobs is None for token in found)
        return
    for token, (expected, logits) in zip(
        found, with_logits(LAYERS, prompt, len(found), **sampling), strict=True
    ):
        own = mx.log(mx.softmax(logits)).tolist()
        assert token.token == expected
        assert token.logprobs is not None
        assert token.logprobs.drawn == pytest.approx(own[expected], abs=within)
        assert len({other for other, _ in token.logprobs.top}) == count
        assert [value for _, value in token.logprobs.top] == pytest.approx(
            sorted(own, reverse=True)[:count], abs=within
        )
        for other, value in token.logprobs.top:
            assert value == pytest.approx(own[other], abs=within)


def test_the_options_differ_in_what_they_draw() -> None:
    answers = {name: tuple(alone(LAYERS, prompt(30), ANSWER, **o)) for name, o in OPTIONS.items()}
    assert answers.pop("logprobs") == answers["greedy"], "they only tell"
    assert len(set(answers.values())) == len(answers)


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_draws_alone_what_it_draws_in_one_process(ring: Ring, name: str) -> None:
    asked = f"alone {name}"
    assert ring.answer(asked, prompt(30), ANSWER, **OPTIONS[name]) == alone(
        LAYERS, prompt(30), ANSWER, **OPTIONS[name]
    )
    expect_logprobs(heard(ring, asked), prompt(30), OPTIONS[name])


def test_all_options_beside_each_other_draw_what_they_draw_alone(ring: Ring) -> None:
    prompts = {name: prompt(2 + number, number) for number, name in enumerate(OPTIONS)}
    for name, sampling in OPTIONS.items():
        ring.submit(f"beside {name}", prompts[name], ANSWER, **sampling)
    for name, sampling in OPTIONS.items():
        ring.finished(f"beside {name}")
        expected = alone(LAYERS, prompts[name], ANSWER, **sampling)
        assert ring.tokens(f"beside {name}") == expected, name
        # A batch sums in another order, and the fake model's sines make more of it with each token; the
        # real model below does not.
        expect_logprobs(heard(ring, f"beside {name}"), prompts[name], sampling, within=0.05)


def test_a_slot_that_is_used_again_has_forgotten_what_was_drawn_in_it(ring: Ring) -> None:
    sampling = {**SEEDED, "presence_penalty": 12.0, "repetition_penalty": 1.5}
    answers = [ring.answer(f"again {number}", prompt(9), ANSWER, **sampling) for number in range(8)]
    assert answers == [answers[0]] * 8


@pytest.mark.parametrize(("counts", "order"), [([5], "reverse"), ([2, 3], "forward"), ([1, 3, 1], "reverse")])
def test_a_real_models_log_probabilities_are_those_of_mlx_lm(
    counts: list[int], order: str, tmp_path: Path
) -> None:
    folder = build("llama", tmp_path, False, 5)
    prompts = [[(37 * i + 11) % SMALL_VOCABULARY for i in range(41)], [17], [3, 5, 8, 13]]
    plan = measured(counts, order, folder, prefill_chunk=16)
    with Ring(plan, module=REAL, model=folder) as ring:
        for number, tokens in enumerate(prompts):
            ring.submit(str(number), tokens, ANSWER, logprobs=number, presence_penalty=0.2 * number)
        for number in range(len(prompts)):
            ring.finished(str(number))
        found = [heard(ring, str(number)) for number in range(len(prompts))]
    model, _ = load_model(folder)
    for number, tokens in enumerate(prompts):
        told = [token.token for token in found[number]]
        logits = model(mx.array([tokens + told]))[0, len(tokens) - 1 : -1]
        own = (logits - mx.logsumexp(logits, axis=-1, keepdims=True)).tolist()
        assert len(told) == ANSWER
        for token, row in zip(found[number], own, strict=True):
            assert token.logprobs is not None
            assert token.logprobs.drawn == pytest.approx(row[token.token], abs=1e-4)
            likeliest = sorted(row, reverse=True)[:number]
            assert [value for _, value in token.logprobs.top] == pytest.approx(likeliest, abs=1e-4)
            assert [row[other] for other, _ in token.logprobs.top] == pytest.approx(likeliest, abs=1e-4)
