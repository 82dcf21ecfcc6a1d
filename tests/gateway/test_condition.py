"""What the gateway tells of itself and the ring: health, figures, description."""

import asyncio
import re
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from ringcore.gateway.engine import Engine
from ringcore.gateway.ledger import Ledger
from ringcore.gateway.metrics import Metrics
from ringcore.gateway.openapi import document, page
from ringcore.gateway.pulse import STANDSTILL_SECONDS, Pulse
from ringcore.spec.engine import Finished, Read, Ready, Refused, Sampling, Started
from ringcore.spec.events import MemoryUsed, PrefixUsed, StepCount
from tests.gateway.harness import FakeRank, GatewayProcess, chat, streaming
from tests.ring.harness import until

CHAT = "/v1/chat/completions"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_ring_that_makes_no_step_while_requests_wait_is_in_trouble_with_the_numbers(clock: Clock) -> None:
    pulse = Pulse(clock)
    pulse.waiting = lambda: 3
    clock.now += STANDSTILL_SECONDS - 1
    assert not pulse.trouble
    clock.now += 2
    assert "21 s while 3 requests wait" in pulse.trouble


def test_steps_and_tokens_are_signs_of_life_and_the_same_count_again_is_none(clock: Clock) -> None:
    pulse = Pulse(clock)
    pulse.waiting = lambda: 1
    for steps in (1, 2, 3):
        clock.now += STANDSTILL_SECONDS - 1
        pulse.heard(StepCount(rank=1, steps=steps))
        assert not pulse.trouble
    clock.now += STANDSTILL_SECONDS
    pulse.heard(StepCount(rank=1, steps=3))
    assert pulse.trouble
    pulse.moved()
    assert not pulse.trouble


def test_a_ring_without_work_may_rest_as_long_as_it_likes(clock: Clock) -> None:
    pulse = Pulse(clock)
    clock.now += 1e6
    assert not pulse.trouble


def test_refusals_and_cancels_are_no_steps_of_the_ring(clock: Clock) -> None:
    pulse = Pulse(clock)
    engine = Engine(Path("none"), lambda _level, _text: None)
    engine.ready = Ready(epoch=1, context=100, sequences=4, vocab_size=10)
    ledger = Ledger(engine, lambda _message: None, Metrics(pulse), pulse)
    held, refused, left = (ledger.submit([1], 5, [], Sampling()) for _ in range(3))
    clock.now += STANDSTILL_SECONDS + 1
    engine.on_message(Started(id=held.id))
    engine.on_message(Refused(id=refused.id, cause="64 wait", kind="busy"))
    engine.on_message(Finished(id=left.id, reason="cancelled", completion_tokens=0))
    assert "while 1 requests wait" in pulse.trouble
    engine.on_message(Read(id=held.id, tokens=1))
    assert not pulse.trouble


async def figures(client: httpx.AsyncClient) -> dict[tuple[str, ...], float]:
    """(name, values of its labels) -> value."""
    text = (await client.get("/metrics")).text
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_figures_count_requests_tokens_and_times(client: httpx.AsyncClient, rank: FakeRank) -> None:
    before = await figures(client)
    asking = asyncio.create_task(client.post(CHAT, json=chat("the fox")))
    submit = await rank.submit()
    during = await figures(client)
    assert (during["mlxring_requests_waiting",], during["mlxring_requests_running",]) == (1, 0)
    rank.send(Started(id=submit.id, cached_tokens=3))
    rank.text(submit, "the quick dog")
    rank.finish(submit)
    await asking
    await client.post(CHAT, json=chat(n=0))
    after = await figures(client)

    def grown(*name: str) -> float:
        return after[name] - before.get(name, 0)

    tokens = len(rank.encode("the quick dog"))
    assert grown("mlxring_prompt_tokens_total") == len(submit.prompt)
    assert grown("mlxring_cached_prompt_tokens_total") == 3
    assert grown("mlxring_completion_tokens_total") == tokens
    assert grown("mlxring_requests_total", "done") == 1
    assert grown("mlxring_time_to_first_token_seconds_count") == 1
    assert grown("mlxring_inter_token_seconds_count") == tokens - 1
    assert grown("mlxring_http_requests_total", CHAT, "200") == 1
    assert grown("mlxring_http_requests_total", CHAT, "400") == 1
    assert after["mlxring_requests_waiting",] == after["mlxring_requests_running",] == 0
    assert after["mlxring_ready",] == 1


async def test_a_request_that_its_client_left_is_counted_as_cancelled(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    before = (await figures(client)).get(("mlxring_requests_total", "cancelled"), 0)
    async with streaming(client, rank) as (submit, _):
        running = await figures(client)
        assert running["mlxring_requests_running",] == 1
    assert (await rank.cancel()).id == submit.id
    assert (await figures(client))["mlxring_requests_total", "cancelled"] == before + 1


async def test_what_ranks_say_of_steps_and_memory_is_told_by_rank(
    client: httpx.AsyncClient, gateway: GatewayProcess
) -> None:
    memory = {f"{kind}_bytes": 7 for kind in ("weight", "kv", "workspace", "resident", "available")}
    kept = PrefixUsed(
        blocks=1, bytes=1, hits=1, reused_tokens=64, evicted=0, brought=6, brought_bytes=88, missed=3
    )
    gateway.tell(StepCount(rank=0, steps=5, tokens=9, busy_seconds=1.5), StepCount(rank=1, steps=4),
                 MemoryUsed(rank=1, **{**memory, "kv_bytes": 99}, prefix=kept))  # fmt: skip

    found: dict[tuple[str, ...], float] = {}
    while ("mlxring_rank_memory_bytes", "kv", "1") not in found:
        found = await figures(client)
    assert found["mlxring_rank_steps_total", "0"] == 5
    assert found["mlxring_rank_steps_total", "1"] == 4
    assert found["mlxring_rank_tokens_total", "0"] == 9
    assert found["mlxring_rank_busy_seconds_total", "0"] == 1.5
    assert found["mlxring_rank_memory_bytes", "kv", "1"] == 99
    assert found["mlxring_rank_blocks_brought_total", "1"] == 6
    assert found["mlxring_rank_blocks_brought_bytes_total", "1"] == 88
    assert found["mlxring_rank_blocks_missed_total", "1"] == 3


async def test_a_path_that_is_made_up_makes_no_figure_of_its_own(client: httpx.AsyncClient) -> None:
    await client.get("/made/up")
    found = await figures(client)
    assert found["mlxring_http_requests_total", "other", "404"] >= 1
    assert not [name for name in found if "/made/up" in name]


async def test_live_and_ready_are_apart(model_gateway_without_rank: GatewayProcess) -> None:
    async with httpx.AsyncClient(base_url=model_gateway_without_rank.url, trust_env=False) as client:
        assert (await client.get("/health/live")).status_code == 200
        for path in ("/health", "/health/ready"):
            response = await client.get(path)
            assert response.status_code == 503
            assert (response.json()["live"], response.json()["ready"]) == (True, False)


@pytest.fixture
def model_gateway_without_rank(gateway: GatewayProcess) -> GatewayProcess:
    until(lambda: httpx.get(gateway.url + "/health", trust_env=False).status_code == 503, "no rank 0")
    return gateway


async def test_the_description_and_its_page_need_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    described = (await client.get("/openapi.json")).json()
    assert described["openapi"].startswith("3.1")
    assert "post" in described["paths"][CHAT]
    shown = await client.get("/docs")
    assert shown.headers["content-type"].startswith("text/html")
    assert "/v1/chat/completions" in shown.text
    assert not re.search(r"https?://|<script|src=", shown.text)


def test_the_description_refers_to_nothing_that_is_not_there() -> None:
    for keyed in (False, True):
        found = document("m", keyed=keyed)
        text = msgspec.json.encode(found).decode()
        for name in re.findall(r"#/components/schemas/([A-Za-z]+)", text):
            assert name in found["components"]["schemas"]
        assert ("security" in found) is keyed
    assert "<" not in re.sub(r"</?[a-z0-9! =\".-]+>", "", page(found).partition("</style>")[2])
