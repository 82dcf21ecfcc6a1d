"""What the API accepts reaches the tokens: a real gateway on a real ring says what one process draws."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ringcore.gateway.text import Text
from ringcore.models.stage import ModelStage
from tests.gateway.harness import GatewayProcess
from tests.models.configs.common import VOCABULARY
from tests.models.running import load
from tests.models.small import build
from tests.ring.alone import CHUNK, drawn_from
from tests.ring.harness import REAL, Ring
from tests.ring.test_greedy import measured

LAYERS, ANSWER = 5, 40
PROMPT = [(37 * i + 11) % VOCABULARY for i in range(30)]
SEEDED: dict[str, Any] = {"temperature": 1.0, "seed": 5}
BIAS = {token: 2.0 + token / 100 for token in range(0, VOCABULARY, 3)}
NAMES = {"repetition_context_size": "repetition_context"}
OPTIONS: list[dict[str, Any]] = [
    {},
    SEEDED,
    {"temperature": 1.0, "seed": 6},
    {"temperature": 0.7, "seed": 5},
    {**SEEDED, "top_p": 0.5},
    {**SEEDED, "top_k": 2},
    {**SEEDED, "min_p": 0.5},
    {"repetition_penalty": 1.5},
    {"repetition_penalty": 1.5, "repetition_context_size": 100},
    {**SEEDED, "presence_penalty": -2.0},
    {**SEEDED, "frequency_penalty": -1.0},
    {**SEEDED, "frequency_penalty": -1.0, "presence_penalty": -2.0},
    {"logit_bias": BIAS},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("llama", tmp_path_factory.mktemp("llama"), False, LAYERS)


@pytest.fixture(scope="module")
def whole(folder: Path) -> ModelStage:
    (stage,) = load(folder, 0, LAYERS)
    return stage


@pytest.fixture(scope="module")
def api(model: Path, folder: Path) -> Iterator[httpx.Client]:
    plan = measured([2, 3], "forward", folder, prefill_chunk=CHUNK)
    with Ring(plan, module=REAL, model=folder, join=False) as ring:
        ring.loaded()
        with GatewayProcess(model, folder=ring.run(0)) as gateway:
            gateway.ready()
            ring.join()
            with httpx.Client(base_url=gateway.url, trust_env=False, timeout=30) as client:
                ring.wait(lambda: client.get("/health").status_code == 200, "the gateway to serve")
                yield client


def expected(whole: ModelStage, body: dict[str, Any]) -> list[int]:
    sampling = {NAMES.get(name, name): value for name, value in body.items()}
    return [token for token, _ in drawn_from(whole, PROMPT, ANSWER, **sampling)]


def answer(api: httpx.Client, **body: Any) -> dict[str, Any]:
    asked = {"prompt": PROMPT, "max_tokens": ANSWER, **body}
    response = api.post("/v1/completions", json=asked)
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


def test_no_two_of_the_options_say_the_same(whole: ModelStage) -> None:
    assert len({tuple(expected(whole, body)) for body in OPTIONS}) == len(OPTIONS)


@pytest.mark.parametrize("body", OPTIONS, ids=lambda found: str(found)[:60])
def test_an_option_draws_what_it_draws_in_one_process(
    api: httpx.Client, model: Path, whole: ModelStage, body: dict[str, Any]
) -> None:
    text, tokens = Text.load(model), expected(whole, body)
    ends = [at for at, token in enumerate(tokens) if token in text.end_tokens]
    bias = {str(token): value for token, value in body.get("logit_bias", {}).items()}
    found = answer(api, **{**body, "logit_bias": bias})
    assert found["text"] == text.decode(tokens[: min(ends, default=ANSWER)])


def test_the_same_seed_twice_is_the_same_and_no_seed_is_not(api: httpx.Client) -> None:
    seeded = [answer(api, **SEEDED, logprobs=0) for _ in range(2)]
    assert seeded[0] == seeded[1]
    assert len({answer(api, temperature=1.0)["text"] for _ in range(3)}) == 3


def test_log_probabilities_come_all_the_way(api: httpx.Client) -> None:
    found = answer(api, logprobs=3)["logprobs"]
    assert len(found["tokens"]) == len(found["top_logprobs"]) > 0
    for logprob, top in zip(found["token_logprobs"], found["top_logprobs"], strict=True):
        assert logprob == max(top.values())
        assert len(top) == 3
        assert all(value <= 0 for value in top.values())
