"""Clients that leave, and a rank 0 that is late, lost, replaced or mad."""

import asyncio
import contextlib
import shutil
import socket
import time
from pathlib import Path

import httpx
import pytest

from ringcore.spec.control import Say
from ringcore.spec.engine import Finished, Started, Token
from ringcore.spec.events import RequestChanged
from tests.gateway.harness import FakeRank, GatewayProcess, chat, events, streaming, texts
from tests.ring.harness import until

CHAT = "/v1/chat/completions"
AT_ONCE = 2.0  # with a busy machine in mind; without a watch for the end it is never


@pytest.mark.parametrize("begun", [False, True])
async def test_a_client_that_leaves_a_stream_frees_the_ring_at_once(
    client: httpx.AsyncClient, rank: FakeRank, begun: bool
) -> None:
    if begun:
        async with streaming(client, rank) as (submit, response):
            rank.text(submit, "the quick")
            await anext(events(response))
    else:
        asking = asyncio.create_task(client.post(CHAT, json=chat(stream=True)))
        submit = await rank.submit()
        asking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asking
    left = time.monotonic()
    assert (await rank.cancel()).id == submit.id
    assert time.monotonic() - left < AT_ONCE
    rank.finish(submit, "cancelled")
    event = await rank.gateway.request(submit.id, "cancelled")
    assert event.completion_tokens == (len(rank.encode("the quick")) if begun else 0)


async def test_a_client_that_leaves_while_it_waits_for_a_whole_answer_frees_the_ring(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat()))
    submit = await rank.submit()
    rank.text(submit, "the")
    asking.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asking
    assert (await rank.cancel()).id == submit.id


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_curl_is_served_and_its_end_cancels(rank: FakeRank, gateway: GatewayProcess) -> None:
    body = '{"messages": [{"role": "user", "content": "hi"}], "stream": true}'
    curl = await asyncio.create_subprocess_exec(
        "curl", "-sN", "--noproxy", "*", gateway.url + CHAT, "-d", body, stdout=asyncio.subprocess.PIPE
    )
    try:
        submit = await rank.submit()
        rank.send(Started(id=submit.id))
        rank.text(submit, "fox")
        assert curl.stdout is not None
        assert b"assistant" in await asyncio.wait_for(curl.stdout.readline(), 5)
    finally:
        curl.kill()
        await curl.communicate()
    assert (await rank.cancel()).id == submit.id


async def test_without_a_rank_0_the_api_is_alive_but_not_ready(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        async with httpx.AsyncClient(base_url=gateway.ready().url, trust_env=False) as client:
            await _is_not_ready(client, "rank 0 has not connected")
            rank = await FakeRank(gateway).connect()
            assert (await client.get("/health")).status_code == 200
            await rank.close()
            lost = "rank 0 closed its connection"
            await asyncio.to_thread(gateway.wait, lambda m: isinstance(m, Say) and m.text == lost, lost)
            await _is_not_ready(client, lost)


async def _is_not_ready(client: httpx.AsyncClient, reason: str) -> None:
    response = await client.get("/health")
    body = response.json()
    assert (response.status_code, body["live"], body["ready"]) == (503, True, False)
    assert reason in body["reason"]
    assert (await client.get("/health/live")).status_code == 200
    refused = await client.post(CHAT, json=chat())
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "unavailable"
    assert reason in refused.json()["error"]["message"]
    assert int(refused.headers["retry-after"]) >= 1


async def test_health_says_ready_with_the_epoch_while_rank_0_is_there(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    response = await client.get("/health")
    assert response.status_code == 200
    assert response.json()["ready"] is True
    assert response.json()["epoch"] == rank.epoch


async def test_a_ring_lost_under_a_stream_is_an_error_event_and_not_an_end(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    async with streaming(client, rank) as (submit, response):
        rank.text(submit, "the quick")
        stream = events(response)
        found = [await anext(stream), await anext(stream)]
        await rank.close()
        found += [event async for event in stream]
    assert "[DONE]" not in found
    assert "lost in the middle of this answer" in found[-1]["error"]["message"]
    assert texts(found) == "the quick"
    assert (await rank.gateway.request(submit.id, "failed")).completion_tokens == len(
        rank.encode("the quick")
    )


async def test_a_ring_lost_under_a_whole_answer_is_a_503(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat()))
    submit = await rank.submit()
    rank.text(submit, "the quick")
    await rank.close()
    response = await asking
    assert response.status_code == 503
    assert "lost in the middle" in response.json()["error"]["message"]


async def test_a_second_rank_0_replaces_the_first_and_fails_its_requests(
    gateway: GatewayProcess, client: httpx.AsyncClient, rank: FakeRank
) -> None:
    async with streaming(client, rank) as (_, response):
        second = await FakeRank(gateway).connect()
        await rank.gone()
        found = [event async for event in events(response)]
    assert "another rank 0 connected" in found[-1]["error"]["message"]
    assert (await client.get("/health")).json()["epoch"] == second.epoch
    fresh = asyncio.create_task(client.post(CHAT, json=chat("new")))
    second.answer(await second.submit(), "fox")
    assert (await fresh).json()["choices"][0]["message"]["content"] == "fox"
    await second.close()


async def test_an_answer_that_the_ring_cancels_by_itself_is_an_error(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat()))
    submit = await rank.submit()
    rank.text(submit, "the")
    rank.finish(submit, "cancelled")
    response = await asking
    assert response.status_code == 503
    assert "ended this request" in response.json()["error"]["message"]


@pytest.mark.parametrize("kind", ["no json", "unknown message", "a gap in the tokens", "a line without end"])
async def test_a_rank_0_that_makes_no_sense_is_dropped_and_its_streams_hear_of_it(
    client: httpx.AsyncClient, rank: FakeRank, kind: str
) -> None:
    async with streaming(client, rank) as (submit, response):
        stream = events(response)
        await anext(stream)
        if kind == "a gap in the tokens":
            rank.send(Token(id=submit.id, index=40, token=5))
        else:
            rank.garbage(
                {"no json": b"\xff{\n", "unknown message": b'{"type":"x"}\n'}.get(kind, b"x" * (3 << 20))
            )
        found = [event async for event in stream]
    assert "rank 0's connection broke" in found[-1]["error"]["message"]
    await rank.gone()


async def test_messages_of_requests_that_are_over_are_ignored(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    rank.send(Token(id="unknown", index=0, token=5))
    rank.send(Finished(id="unknown", reason="stop", completion_tokens=1))
    asking = asyncio.create_task(client.post(CHAT, json=chat()))
    submit = await rank.submit()
    rank.answer(submit, "fox")
    rank.send(Finished(id=submit.id, reason="cancelled", completion_tokens=1))
    assert (await asking).json()["choices"][0]["message"]["content"] == "fox"
    assert (await client.get("/health")).status_code == 200


async def test_each_request_is_reported_from_queue_to_end_with_its_figures(
    gateway: GatewayProcess, client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat("the fox")))
    submit = await rank.submit()
    queued = await gateway.request(submit.id, "queued")
    assert queued.prompt_tokens == len(submit.prompt)
    rank.send(Started(id=submit.id))
    assert (await gateway.request(submit.id, "running")).completion_tokens == 0
    tokens = rank.encode("over the lazy dog")
    rank.tokens(submit, tokens[:1])
    gateway.wait(
        lambda m: isinstance(m, RequestChanged) and m.id == submit.id and m.completion_tokens == 1,
        "the first token of the request",
    )
    rank.tokens(submit, tokens[1:])
    rank.finish(submit)
    await asking
    done = await gateway.request(submit.id, "done")
    assert done.prompt_tokens == len(submit.prompt)
    assert done.completion_tokens == len(tokens)
    assert done.first_token_seconds > 0
    assert done.tokens_per_second > 0
    phases = [m.phase for m in gateway.said(RequestChanged) if m.id == submit.id]
    assert phases == ["queued", "running", "running", "done"]


async def test_a_client_that_does_not_read_does_not_stop_the_others(
    gateway: GatewayProcess, client: httpx.AsyncClient, rank: FakeRank
) -> None:
    body = b'{"messages": [{"role": "user", "content": "slow"}], "stream": true}'
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b"
            % (len(body), body)
        )
        one = await rank.submit()
        rank.send(Started(id=one.id))
        rank.tokens(one, rank.encode("fox") * 20_000)
        asking = asyncio.create_task(client.post(CHAT, json=chat("quick")))
        two = await rank.submit()
        rank.answer(two, "fox")
        assert (await asking).status_code == 200
    assert (await rank.cancel()).id == one.id


@pytest.mark.parametrize("stream", [False, True])
async def test_a_fault_of_the_gateways_own_is_reported_and_never_a_silent_end(
    gateway: GatewayProcess, client: httpx.AsyncClient, rank: FakeRank, stream: bool
) -> None:
    before = len(gateway.said(Say))
    asking = asyncio.create_task(client.post(CHAT, json=chat(stream=stream)))
    submit = await rank.submit()
    rank.send(Started(id=submit.id), Token(id=submit.id, index=0, token=-1))  # no tokenizer decodes it
    if stream:
        with pytest.raises(httpx.RemoteProtocolError):
            await asking
    else:
        response = await asking
        assert response.status_code == 500
        assert response.json()["error"]["type"] == "server_error"
    assert (await rank.cancel()).id == submit.id
    await asyncio.to_thread(
        until,
        lambda: any(m.level == "ERROR" and "OverflowError" in m.text for m in gateway.said(Say)[before:]),
        "the gateway's word to its agent",
    )
    assert (await client.get("/health")).status_code == 200
