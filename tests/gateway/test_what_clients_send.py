"""Bodies as programs that people use really send them: answered, or refused for one field by its name."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.gateway.harness import MODEL, FakeRank, events
from tests.gateway.test_refusals import error_of
from tests.gateway.test_tools import CHAT, WEATHER, gateway, rank

__all__ = ["gateway", "rank"]  # fixtures: a template that knows tools and thinking

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
CALLED: dict[str, Any] = {
    "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"place": "Rom"}'},
}  # fmt: skip
BODIES: dict[str, dict[str, Any]] = {
    "OpenAI's playground": {
        "model": MODEL, "messages": [{"role": "developer", "content": "be brief"}, *HI],
        "response_format": {"type": "text"}, "temperature": 1, "max_completion_tokens": 64, "top_p": 1,
        "frequency_penalty": 0, "presence_penalty": 0, "store": False, "stream": True,
        "stream_options": {"include_usage": True},
    },
    "Open WebUI": {
        "model": MODEL, "stream": True, "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": ""}, {"role": "user", "content": "hi"}],
    },
    "Open WebUI, the title of a chat": {
        "model": MODEL, "stream": False, "max_completion_tokens": 100, "max_tokens": 100, "messages": HI,
    },
    "LangChain": {
        "model": MODEL, "messages": [
            {"content": "be brief", "role": "system"},
            {"content": [{"type": "text", "text": "hi"}], "role": "user"},
            {"content": None, "role": "assistant", "tool_calls": [CALLED]},
            {"content": "sunny", "role": "tool", "tool_call_id": "call_1"},
        ],
        "tools": [WEATHER], "parallel_tool_calls": False, "temperature": 0.7, "n": 1, "stream": False,
        "max_completion_tokens": None, "stop": None, "logit_bias": None, "seed": None, "top_logprobs": None,
    },
    "an answer as LangChain sends it back": {
        "model": MODEL, "messages": [*HI, {"content": "so", "role": "assistant"}, *HI], "stop": [],
    },
    "Vercel's AI SDK": {
        "model": MODEL, "stream": True, "stream_options": {"include_usage": True}, "tool_choice": "auto",
        "tools": [{"type": "function", "function": {**WEATHER["function"], "strict": False}}],
        "messages": [*HI, {"role": "assistant", "content": "", "tool_calls": [CALLED]},
                     {"role": "tool", "tool_call_id": "call_1", "content": '{"sky": "blue"}'}],
        "user": "u1", "temperature": 0,
    },
    "a stream's calls put together, places and all": {
        "model": MODEL, "tools": [WEATHER],
        "messages": [*HI, {"role": "assistant", "content": None, "tool_calls": [{**CALLED, "index": 0}]},
                     {"role": "tool", "tool_call_id": "call_1", "name": "weather", "content": [
                         {"type": "text", "text": "sunny"}]}],
    },
    "aider": {"model": MODEL, "messages": [{"role": "system", "content": "edit"}, *HI], "temperature": 0,
              "stream": True},
    "Continue": {
        "model": MODEL, "messages": HI, "max_tokens": 1024, "stream": True, "temperature": 0.5,
        "stop": ["\n\n"], "tools": [], "stream_options": {"include_usage": True},
    },
    "OpenAI's Agents SDK": {
        "model": MODEL, "messages": HI, "tools": [{"type": "function", "function": {
            **WEATHER["function"], "strict": True}}],
        "tool_choice": None, "response_format": None, "parallel_tool_calls": None, "stream": False,
        "reasoning_effort": None, "verbosity": None, "top_logprobs": None, "store": None, "metadata": None,
    },
    "a client of vLLM": {
        "model": MODEL, "messages": HI, "top_k": -1, "min_p": 0, "repetition_penalty": 1, "min_tokens": 0,
        "skip_special_tokens": True, "ignore_eos": False,
        "chat_template_kwargs": {"enable_thinking": False},
    },
    "a client of llama.cpp's server": {
        "model": MODEL, "messages": HI, "stream": True, "cache_prompt": True, "return_progress": True,
        "timings_per_token": False, "top_k": 40, "min_p": 0.05, "seed": 1,
    },
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_what_it_sends_is_answered(client: httpx.AsyncClient, rank: FakeRank, name: str) -> None:
    body = BODIES[name]
    asking = asyncio.create_task(
        client.post(CHAT, json=body, headers={"User-Agent": "x", "X-Stainless-Lang": "js"})
    )
    submit = await rank.submit()
    rank.answer(submit, "the fox")
    response = await asking
    assert response.status_code == 200, response.text
    if body.get("stream"):
        found = [event async for event in events(response)]
        assert found[-1] == "[DONE]"
        wants_usage = bool(body.get("stream_options"))
        assert bool(found[-2].get("usage")) is wants_usage
        if wants_usage:
            assert found[-2]["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    else:
        assert response.json()["choices"][0]["message"]["content"] == "the fox"
        assert response.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": [{"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:"}}]}]}, "messages[0].content[0].type"),
        ({"messages": HI, "store": True}, "store"),
        ({"messages": HI, "metadata": {"a": "b"}}, "metadata"),
        ({"messages": HI, "prediction": {"type": "content", "content": "x"}}, "prediction"),
        ({"messages": HI, "web_search_options": {}}, "web_search_options"),
        ({"messages": HI, "functions": [{"name": "f"}]}, "functions"),
        ({"messages": HI, "function_call": {"name": "f"}}, "function_call"),
        ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
        ({"messages": HI, "guided_json": {}}, "guided_json"),
        ({"messages": HI, "num_ctx": 4096}, "num_ctx"),
        ({"messages": HI, "options": {"num_ctx": 1}}, "options"),
        ({"messages": HI, "max_tokens": -1}, "max_tokens"),
        ({"messages": HI, "mirostat": 2}, "mirostat"),
        ({"messages": HI, "ignore_eos": True}, "ignore_eos"),
        ({"messages": HI, "response_format": {"type": "json_object", "schema": {}}},
         "response_format.schema"),
        ({"messages": HI, "stream_options": {"include_usage": True}}, "stream_options"),
        ({"messages": HI, "stream": True, "stream_options": {"continuous_usage_stats": True}},
         "stream_options.continuous_usage_stats"),
        ({"messages": HI, "tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools[0].type"),
        ({"messages": HI, "tools": [{"type": "web_search"}]}, "tools[0].type"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
async def test_what_cannot_be_done_is_refused_by_the_name_it_was_sent_under(
    client: httpx.AsyncClient, rank: FakeRank, body: dict[str, Any], param: str
) -> None:
    error = error_of(await client.post(CHAT, json=body), 400)
    assert error["param"] == param
    assert param in str(error["message"])
