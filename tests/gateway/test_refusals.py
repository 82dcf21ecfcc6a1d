"""What a client is told that cannot be served: OpenAI's error shape, the right status, the field's name."""

import asyncio
import json
import random
import socket
import string

import httpx
import pytest

from ringcore.spec.engine import Refused
from tests.gateway.harness import CONTEXT, MODEL, FakeRank, GatewayProcess, chat, events

CHAT = "/v1/chat/completions"


def dense(length: int) -> str:
    """Text that nothing packs."""
    return "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=length))


def nested(key: str, depth: int) -> dict[str, object]:
    """A schema in a schema in a schema."""
    schema: dict[str, object] = {}
    for _ in range(depth):
        schema = {key: schema}
    return schema


def error_of(response: httpx.Response, status: int) -> dict[str, object]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"frobnicate": 1}, "frobnicate"),
        ({"best_of": 3}, "best_of"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools"),  # the template knows none
        ({"chat_template_kwargs": {"enable_thinking": False}}, "enable_thinking"),
        ({"reasoning_effort": "low"}, "reasoning_effort"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"metadata": {"a": "b"}}, "metadata"),
        ({"store": True}, "store"),
        ({"messages": [{"role": "user", "content": "x", "name": "Ada"}]}, "messages[0].name"),
        ({"length_penalty": 0.5}, "length_penalty"),
        ({"stream": True, "stream_options": {"chatty": True}}, "stream_options.chatty"),
    ],
)
async def test_what_is_not_supported_is_refused_by_its_name(
    client: httpx.AsyncClient, rank: FakeRank, fields: dict[str, object], param: str
) -> None:
    error = error_of(await client.post(CHAT, json=chat(**fields)), 400)
    assert error["code"] == "unsupported_parameter"
    assert error["param"] == param
    assert param in str(error["message"])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"seed": -1}, "seed"),
        ({"frequency_penalty": 2.1}, "frequency_penalty"),
        ({"presence_penalty": -2.1}, "presence_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"repetition_context_size": 0}, "repetition_context_size"),
        ({"logit_bias": {"3": 101}}, "logit_bias"),
        ({"logit_bias": {"three": 1}}, "logit_bias"),
        ({"logit_bias": {"-3": 1}}, "logit_bias"),
        ({"logit_bias": {"320": 1}}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(301)}}, "logit_bias"),
        ({"logit_bias": [3]}, "logit_bias"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 33}, "n"),
        ({"return_progress": True}, "return_progress"),
        ({"n": 2, "conversation_id": "a"}, "n"),
        ({"conversation_id": "a/b"}, "conversation_id"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": 3}}}},
         "response_format"),
        ({"response_format": {"type": "json_schema",
                              "json_schema": {"name": "x", "schema": {"const": "x" * 70_000}}}},
         "response_format"),
        ({"response_format": {"type": "json_schema",  # as dense as text can be
                              "json_schema": {"name": "x", "schema": {"const": dense(40_000)}}}},
         "response_format"),
        ({"response_format": {"type": "json_schema",
                              "json_schema": {"name": "x", "schema": nested("items", 300)}}},
         "response_format"),
        ({"chat_template_kwargs": {"messages": []}}, "messages"),
        ({"chat_template_kwargs": {"add_generation_prompt": False}}, "add_generation_prompt"),
        ({"messages": [{"role": "user", "content": "x", "reasoning_content": "y"}]},
         "messages[0].reasoning_content"),
        ({"messages": [{"role": "user", "content": "x", "tool_call_id": "y"}]}, "messages[0].tool_call_id"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content"),
        ({"stop": [""]}, "stop[0]"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "text": "x"}]}]},
         "messages[0].content[0].type"),
    ],
)  # fmt: skip
async def test_a_wrong_value_is_refused_by_its_place(
    client: httpx.AsyncClient, rank: FakeRank, fields: dict[str, object], param: str
) -> None:
    error = error_of(await client.post(CHAT, json={**chat(), **fields}), 400)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"nonsense", b'{"messages": "\xff"}', b'{"messages": "\\ud800"}',
     b'{"messages":' + b"[" * 900 + b"]" * 900 + b"}", b"[" * 100_000],
)  # fmt: skip
async def test_a_body_that_is_no_json_object_is_refused(
    client: httpx.AsyncClient, rank: FakeRank, body: bytes
) -> None:
    assert "the body" in str(error_of(await client.post(CHAT, content=body), 400)["message"])


async def test_a_body_past_the_limit_is_refused_with_the_limit(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    error = error_of(await client.post(CHAT, json=chat("x" * (8 << 20))), 413)
    assert str(8 << 20) in str(error["message"])
    assert (await client.get("/health")).status_code == 200


async def test_another_model_is_not_found_and_told_which_is_served(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    error = error_of(await client.post(CHAT, json=chat(model="gpt-4o")), 404)
    assert error["code"] == "model_not_found"
    assert MODEL in str(error["message"])
    error_of(await client.get("/v1/models/gpt-4o"), 404)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", CHAT, 405), ("DELETE", "/v1/models", 405), ("GET", "/v1/nothing", 404), ("POST", "/", 404)],
)
async def test_a_wrong_method_or_path_has_the_same_error_shape(
    client: httpx.AsyncClient, method: str, path: str, status: int
) -> None:
    response = await client.request(method, path)
    assert f"{method} {path}" in str(error_of(response, status)["message"])
    assert ("allow" in response.headers) == (status == 405)


async def test_what_exceeds_the_context_is_refused_with_the_numbers(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    error = error_of(await client.post(CHAT, json=chat("fox " * 400)), 400)
    assert error["code"] == "context_length_exceeded"
    assert f"context is {CONTEXT} tokens" in str(error["message"])
    error = error_of(await client.post(CHAT, json=chat(max_tokens=CONTEXT)), 400)
    assert f"asks for {CONTEXT} more" in str(error["message"])


@pytest.mark.parametrize("stream", [False, True])
async def test_what_rank_0_refuses_is_the_clients_error_with_rank_0s_numbers(
    client: httpx.AsyncClient, rank: FakeRank, stream: bool
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat(stream=stream)))
    submit = await rank.submit()
    rank.send(Refused(id=submit.id, cause="300 tokens asked, 256 allowed"))
    assert error_of(await asking, 400)["message"] == "300 tokens asked, 256 allowed"
    assert (await rank.gateway.request(submit.id, "failed")).completion_tokens == 0


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue_is_429_and_says_when_to_come_again(
    client: httpx.AsyncClient, rank: FakeRank, stream: bool
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat(stream=stream)))
    submit = await rank.submit()
    rank.send(Refused(id=submit.id, cause="64 requests wait, 64 are allowed", kind="busy"))
    response = await asking
    error = error_of(response, 429)
    assert error["type"] == "rate_limit_error"
    assert int(response.headers["retry-after"]) >= 1


async def test_a_stream_that_waits_for_its_turn_starts_and_is_refused_in_an_event(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    async with client.stream("POST", CHAT, json=chat(stream=True)) as response:
        submit = await rank.submit()
        assert response.status_code == 200  # after ENGINE_ANSWER_SECONDS without a word of rank 0
        rank.send(Refused(id=submit.id, cause="never"))
        found = [event async for event in events(response)]
    assert found[-1]["error"]["message"] == "never"


async def test_one_request_refused_leaves_the_others_alone(client: httpx.AsyncClient, rank: FakeRank) -> None:
    good = asyncio.create_task(client.post(CHAT, json=chat("good")))
    submit = await rank.submit()
    error_of(await client.post(CHAT, json=chat(n=99)), 400)
    rank.answer(submit, "fox")
    assert (await good).status_code == 200


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_no_trace(
    client: httpx.AsyncClient, rank: FakeRank, gateway: GatewayProcess
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as half:
        half.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n{")
    asking = asyncio.create_task(client.post(CHAT, json=chat("whole")))
    submit = await rank.submit()
    assert "whole" in rank.prompt(submit)
    rank.answer(submit, "fox")
    assert (await asking).status_code == 200
    assert not [m for m in gateway.said(object) if "failed in the gateway" in str(m)]
    assert b"Traceback" not in gateway.log.read_bytes()


async def test_models_names_the_one_that_is_served(client: httpx.AsyncClient) -> None:
    body = (await client.get("/v1/models")).json()
    assert body["object"] == "list"
    assert [(m["id"], m["object"]) for m in body["data"]] == [(MODEL, "model")]
    assert (await client.get(f"/v1/models/{MODEL}")).json() == body["data"][0]


async def test_an_error_is_json_and_says_so(client: httpx.AsyncClient, rank: FakeRank) -> None:
    response = await client.post(CHAT, content=b"{")
    assert response.headers["content-type"] == "application/json"
    assert json.loads(response.content)["error"]["type"] == "invalid_request_error"
