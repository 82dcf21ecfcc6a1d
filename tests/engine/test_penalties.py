"""Each option changes the logits as mlx-lm's own function does and nothing else, from the right history."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.sample_utils import make_logits_processors

from ringcore.engine.opening import Opening, decode, make_opening
from ringcore.engine.penalties import Penalties
from ringcore.engine.sampler import Sampler
from ringcore.spec.engine import Sampling, Submit

VOCABULARY = 40
PROMPT = [(7 * i + 3) % VOCABULARY for i in range(33)]
DRAWN = [5, 9, 5, 5, 31, 0, 9, 17, 5, 2, 39, 5, 8, 8, 1, 20, 21, 22, 23, 24, 25, 26, 5, 27, 28, 29]
LONG = 10_000  # a context that reaches back to the answer's first token
EACH: list[dict[str, Any]] = [
    {"repetition_penalty": 1.3},
    {"repetition_penalty": 0.7, "repetition_context": 4},
    {"presence_penalty": 0.8},
    {"presence_penalty": -1.5},
    {"frequency_penalty": 0.4},
    {"logit_bias": {3: 5.0, 17: -100.0, 39: 0.25}},
]


def opening(prompt: Sequence[int] = PROMPT, **fields: Any) -> Opening:
    sampling = Sampling(**fields)
    return make_opening(Submit(id="a", prompt=list(prompt), max_tokens=9, stop_tokens=[], sampling=sampling))


def logits(seed: int) -> mx.array:
    return 3 * mx.random.normal((1, VOCABULARY), key=mx.random.key(seed))


def by_mlx_lm(now: mx.array, prompt: list[int], answer: list[int], fields: dict[str, Any]) -> mx.array:
    """mlx-lm's processors in its order: repetition looks at all tokens, the other two at the answer's."""
    repetition = {
        "repetition_penalty": fields.get("repetition_penalty"),
        "repetition_context_size": fields.get("repetition_context", 20),
    }
    others = {key: fields.get(key) for key in ("presence_penalty", "frequency_penalty")}
    now = mx.array(now)
    for process in make_logits_processors(logit_bias=fields.get("logit_bias"), **repetition):
        now = process(mx.array(prompt + answer, dtype=mx.int32), now)
    for process in make_logits_processors(**others, presence_context_size=LONG, frequency_context_size=LONG):
        now = process(mx.array(answer, dtype=mx.int32), now)
    return now


@pytest.mark.parametrize("prompt", [PROMPT, PROMPT[:3]], ids=["long prompt", "short prompt"])
@pytest.mark.parametrize("fields", [*EACH, {k: v for one in reversed(EACH) for k, v in one.items()}], ids=str)
def test_an_option_does_to_the_logits_what_mlx_lm_does(fields: dict[str, Any], prompt: list[int]) -> None:
    penalties = Penalties(opening(prompt, **fields))
    for step, token in enumerate(DRAWN):
        before = logits(step)
        kept = before.tolist()
        changed = penalties.apply(before)
        expected = by_mlx_lm(before, prompt, DRAWN[:step], fields)
        assert mx.allclose(changed, expected, rtol=1e-6, atol=1e-6), step
        assert before.tolist() == kept, "the logits that came in are the log-probabilities' too"
        penalties.observe(mx.array([token], dtype=mx.int32))


@pytest.mark.parametrize("fields", EACH, ids=str)
def test_tokens_that_an_option_does_not_name_keep_their_logits(fields: dict[str, Any]) -> None:
    penalties = Penalties(opening(**fields))
    penalties.apply(logits(0))
    penalties.observe(mx.array([11], dtype=mx.int32))
    changed = (penalties.apply(logits(1)) != logits(1))[0].tolist()
    named = {11}
    if "logit_bias" in fields:
        named = set(fields["logit_bias"])
    elif "repetition_penalty" in fields:
        named |= set(PROMPT[1 - fields.get("repetition_context", 20) :])
    assert {token for token, other in enumerate(changed) if other} == named


def test_the_prompt_counts_for_the_repetition_penalty_alone() -> None:
    for fields in EACH:
        changed = not mx.array_equal(Penalties(opening(**fields)).apply(logits(0)), logits(0))
        assert changed == ("repetition_penalty" in fields or "logit_bias" in fields), fields


def test_a_greedy_answer_under_penalties_repeats_itself_less() -> None:
    def answer(**fields: Any) -> list[int]:
        sampler, found = Sampler(opening(**fields)), []
        for position in range(30):
            found.append(sampler.draw(logits(0) + 0.01 * logits(position), position).token.item())
        return found

    plain = answer()
    assert len(set(plain)) < 3
    for fields in ({"repetition_penalty": 2.0}, {"presence_penalty": 2.0}, {"frequency_penalty": 1.0}):
        assert len(set(answer(**fields))) > len(set(plain)), fields
    assert set(answer(logit_bias={plain[0]: -100})).isdisjoint({plain[0]})
    assert set(answer(logit_bias={13: 100})) == {13}
    assert all(a != b for a, b in pairwise(answer(presence_penalty=2.0, repetition_penalty=4.0)))


def test_tokens_may_be_drawn_ahead_of_their_values_without_a_difference() -> None:
    everything = {key: value for one in EACH for key, value in one.items()}
    waits, runs_ahead = (Sampler(opening(temperature=0.8, seed=4, **everything)) for _ in range(2))
    one_by_one = [waits.draw(logits(step), step).token.item() for step in range(25)]
    ahead = [runs_ahead.draw(logits(step), step).token for step in range(25)]
    assert mx.concatenate(ahead).tolist() == one_by_one


def test_logits_of_half_precision_are_penalised_in_full() -> None:
    fields = {"logit_bias": {3: 0.001}}
    changed = Penalties(opening(**fields)).apply(logits(0).astype(mx.bfloat16).astype(mx.float32))
    difference = (changed - logits(0).astype(mx.bfloat16).astype(mx.float32))[0, 3].item()
    assert difference == pytest.approx(0.001, rel=1e-2)


def test_a_neutral_value_is_no_penalty() -> None:
    neutral = decode(b'{"repetition_penalty":1.0,"presence_penalty":0.0,"logit_bias":{}}')
    assert neutral == Opening()
    sampler = Sampler(neutral)
    expected = [mx.argmax(logits(step)).item() for step in range(10)]
    assert [sampler.draw(logits(step), step).token.item() for step in range(10)] == expected
