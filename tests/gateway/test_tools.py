"""Tools, thinking and formats in a chat, with a model whose template knows them."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ringcore.spec.engine import Submit
from tests.gateway.harness import FakeRank, GatewayProcess, chat, events
from tests.gateway.small_tokenizer import write_tokenizer
from tests.gateway.test_refusals import error_of
from tests.gateway.tool_templates import MARKS, THINKING

CHAT = "/v1/chat/completions"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "of a place",
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"place": "Köln"}}\n</tool_call>'


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(False, id="plain marks", marks=pytest.mark.slow),
        pytest.param(True, id="special marks"),
    ],
)
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[GatewayProcess]:
    folder = write_tokenizer(
        tmp_path_factory.mktemp("tools"), marks=MARKS, special_marks=request.param, chat_template=THINKING
    )
    with GatewayProcess(folder) as process:
        yield process.ready()


@pytest.fixture
async def rank(gateway: GatewayProcess) -> AsyncIterator[FakeRank]:
    rank = await FakeRank(gateway).connect(context=2048, vocab_size=330)
    yield rank
    await rank.close()


async def answered(client: httpx.AsyncClient, rank: FakeRank, text: str, **body: Any) -> dict[str, Any]:
    asking = asyncio.create_task(client.post(CHAT, json=chat(**body)))
    submit = await rank.submit()
    rank.answer(submit, text)
    response = await asking
    assert response.status_code == 200, response.text
    return response.json()["choices"][0]


async def streamed(client: httpx.AsyncClient, rank: FakeRank, text: str, **body: Any) -> list[dict[str, Any]]:
    """The choices of the stream."""
    asking = asyncio.create_task(client.post(CHAT, json=chat(stream=True, **body)))
    submit = await rank.submit()
    rank.answer(submit, text)
    return [e["choices"][0] async for e in events(await asking) if e != "[DONE]"]


async def test_a_call_comes_as_a_call_and_the_text_before_it_as_text(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    choice = await answered(client, rank, f"look {CALL}", tools=[WEATHER])
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "look "
    (call,) = choice["message"]["tool_calls"]
    assert call["function"]["name"] == "weather"
    assert json.loads(call["function"]["arguments"]) == {"place": "Köln"}
    assert call["id"].startswith("call_")


async def test_calls_are_streamed_each_in_one_piece_with_its_number(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    found = await streamed(client, rank, CALL + "\n" + CALL, tools=[WEATHER])
    calls = [c for choice in found for c in choice["delta"].get("tool_calls", ())]
    assert [c["index"] for c in calls] == [0, 1]
    assert {json.loads(c["function"]["arguments"])["place"] for c in calls} == {"Köln"}
    assert len({c["id"] for c in calls}) == 2
    assert "".join(choice["delta"].get("content") or "" for choice in found) == ""
    assert found[-1]["finish_reason"] == "tool_calls"


async def test_where_calls_may_not_be_parallel_the_first_ends_the_answer(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(
        client.post(CHAT, json=chat(tools=[WEATHER], parallel_tool_calls=False, stream=True))
    )
    submit = await rank.submit()
    rank.text(submit, CALL + " and so on")
    found = [e["choices"][0] async for e in events(await asking) if e != "[DONE]"]
    assert sum("tool_calls" in choice["delta"] for choice in found) == 1
    assert found[-1]["finish_reason"] == "tool_calls"
    assert (await rank.cancel()).id == submit.id
    await rank.gateway.request(submit.id, "done")  # the client has all that it asked for


async def test_what_stands_between_the_marks_and_is_no_call_is_text(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    choice = await answered(client, rank, "<tool_call>nonsense</tool_call>", tools=[WEATHER])
    assert choice["message"]["content"] == "<tool_call>nonsense</tool_call>"
    assert choice["finish_reason"] == "stop"


async def test_without_tools_marks_of_calls_are_text(client: httpx.AsyncClient, rank: FakeRank) -> None:
    for body in ({}, {"tools": [WEATHER], "tool_choice": "none"}):
        choice = await answered(client, rank, "no tools at all", **body)
        assert choice["message"] == {"role": "assistant", "content": "no tools at all"}


async def test_tools_calls_and_their_results_reach_the_template(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": "how is it in Rom"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function",
             "function": {"name": "weather", "arguments": '{"place": "Rom"}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
    ]  # fmt: skip
    asking = asyncio.create_task(client.post(CHAT, json={"messages": messages, "tools": [WEATHER]}))
    submit = await rank.submit()
    prompt = rank.prompt(submit)
    assert "<|im_start|>system\nbe brief" in prompt
    assert '{"name": "weather", "arguments": {"place": "Rom"}}' in prompt
    assert "<|im_start|>tool\nsunny" in prompt
    assert '"description": "of a place"' in prompt
    rank.answer(submit, "sunny")
    assert (await asking).status_code == 200


async def test_a_tool_that_must_be_called_is_begun_in_the_prompt_and_the_answer_bound_to_its_schema(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    chosen = {"type": "function", "function": {"name": "weather"}}
    asking = asyncio.create_task(client.post(CHAT, json=chat(tools=[CLOCK, WEATHER], tool_choice=chosen)))
    submit = await rank.submit()
    assert rank.prompt(submit).endswith("<tool_call>\n")
    assert '"clock"' not in rank.prompt(submit)
    schema = json.loads(submit.sampling.grammar)["grammars"][0]["json_schema"]
    assert schema["properties"]["name"] == {"const": "weather"}
    assert schema["properties"]["arguments"] == WEATHER["function"]["parameters"]
    rank.answer(submit, '{"name":"weather","arguments":{"place":"Rom"}}')
    choice = (await asking).json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"] == {
        "name": "weather",
        "arguments": '{"place": "Rom"}',
    }


async def test_any_of_several_tools_may_be_the_one_that_must_be_called(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat(tools=[CLOCK, WEATHER], tool_choice="required")))
    submit = await rank.submit()
    schema = json.loads(submit.sampling.grammar)["grammars"][0]["json_schema"]
    assert [one["properties"]["name"]["const"] for one in schema["anyOf"]] == ["clock", "weather"]
    rank.answer(submit, '{"name":"clock","arguments":{}}')
    assert (await asking).json()["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "clock"


async def test_a_tool_to_call_that_is_not_there_is_refused(client: httpx.AsyncClient, rank: FakeRank) -> None:
    chosen = {"type": "function", "function": {"name": "stocks"}}
    body = chat(tools=[WEATHER], tool_choice=chosen)
    assert error_of(await client.post(CHAT, json=body), 400)["param"] == "tool_choice"
    body = chat(tools=[WEATHER], tool_choice="required", response_format={"type": "json_object"})
    assert error_of(await client.post(CHAT, json=body), 400)["param"] == "response_format"


def strict(tool: dict[str, Any]) -> dict[str, Any]:
    return {**tool, "function": {**tool["function"], "strict": True}}


async def test_strict_tools_bind_every_call_and_leave_the_text_round_it_free(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat(tools=[CLOCK, strict(WEATHER)])))
    submit = await rank.submit()
    for written, good in (
        ("no call at all", True),
        ("<think>hm</think>\n" + CALL, True),
        (f"look {CALL} and {CALL}", True),
        ('<tool_call>{"name": "clock", "arguments": {"any": 1}}</tool_call>', True),
        ('<tool_call>{"name": "weather", "arguments": {"city": "x"}}</tool_call>', False),
        ('<tool_call>{"name": "stocks", "arguments": {}}</tool_call>', False),
        ("<tool_call>nonsense", False),
    ):
        assert follows(rank, submit, written) is good, written
    rank.answer(submit, CALL)
    assert (await asking).json()["choices"][0]["finish_reason"] == "tool_calls"


async def test_with_a_format_and_tools_the_answer_is_a_document_or_calls(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {
        "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}  # fmt: skip
    asking = asyncio.create_task(client.post(CHAT, json=chat(tools=[WEATHER], response_format=wanted)))
    submit = await rank.submit()
    for written, good in (
        ('{"a": 1}', True),
        (CALL, True),
        (CALL + "\n" + CALL, True),
        ("look " + CALL, False),
        ('{"b": 1}', False),
        ('<tool_call>{"name": "weather", "arguments": {}}</tool_call>', False),
    ):
        assert follows(rank, submit, written) is good, written
    rank.answer(submit, '{"a": 1}')
    assert (await asking).json()["choices"][0]["message"]["content"] == '{"a": 1}'


def follows(rank: FakeRank, submit: Submit, text: str) -> bool:
    """The sampling of the ring could write it, and end there."""
    from llguidance import LLMatcher

    matcher = LLMatcher(rank.gateway.llguidance, submit.sampling.grammar, log_level=0)
    tokens = rank.encode(text)
    return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


async def test_a_name_reaches_a_template_that_has_a_place_for_it(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    messages = [{"role": "user", "name": "Ada", "content": "hi"}, {"role": "user", "content": "so"}]
    asking = asyncio.create_task(client.post(CHAT, json={"messages": messages}))
    submit = await rank.submit()
    assert "<|im_start|>user Ada\nhi<|im_end|>\n<|im_start|>user\nso" in rank.prompt(submit)
    rank.answer(submit, "hi Ada")
    assert (await asking).status_code == 200
    messages = [{"role": "system", "name": "boss", "content": "hi"}]
    error = error_of(await client.post(CHAT, json={"messages": messages}), 400)
    assert error["param"] == "messages[0].name"


@pytest.mark.parametrize("begun", ["the fox", "<think>the fox"])
async def test_an_answer_may_go_on_with_what_the_client_began(
    client: httpx.AsyncClient, rank: FakeRank, begun: str
) -> None:
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": begun}]
    body = {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}
    asking = asyncio.create_task(client.post(CHAT, json=body))
    submit = await rank.submit()
    assert rank.prompt(submit).endswith(f"<|im_start|>assistant\n{begun}")
    thinks = begun.startswith("<think>")
    rank.answer(submit, " jumps</think>\nyes" if thinks else " jumps")
    message = (await asking).json()["choices"][0]["message"]
    if thinks:
        assert (message["reasoning_content"], message["content"]) == ("jumps", "yes")
    else:
        assert message["content"] == " jumps"


async def test_no_effort_is_no_thinking_where_the_template_has_a_switch(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    for effort, opened in ((None, True), ("none", False)):
        # what the client says of the template stands over what follows from the effort
        more = {"chat_template_kwargs": {"enable_thinking": True}} if opened else {"reasoning_effort": effort}
        asking = asyncio.create_task(client.post(CHAT, json=chat(**more)))
        submit = await rank.submit()
        assert rank.prompt(submit).endswith("<think>\n") is opened
        rank.answer(submit, "fox")
        assert (await asking).status_code == 200
    error = error_of(await client.post(CHAT, json=chat(reasoning_effort="high")), 400)
    assert error["param"] == "reasoning_effort"


@pytest.mark.parametrize("opened", [False, True])
async def test_thinking_is_apart_whether_the_model_or_the_template_begins_it(
    client: httpx.AsyncClient, rank: FakeRank, opened: bool
) -> None:
    text = ("" if opened else "<think>\n") + "the fox is quick\n</think>\n\nyes"
    body: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": opened}}
    choice = await answered(client, rank, text, **body)
    assert choice["message"] == {
        "role": "assistant", "content": "yes", "reasoning_content": "the fox is quick\n",
    }  # fmt: skip
    found = await streamed(client, rank, text, **body)
    deltas = [choice["delta"] for choice in found]
    assert "".join(d.get("reasoning_content", "") for d in deltas) == "the fox is quick\n"
    assert "".join(d.get("content") or "" for d in deltas) == "yes"


async def test_a_format_is_a_grammar_and_thinking_is_skipped_for_it(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    schema = {"type": "object", "properties": {"a": {"const": None}}, "required": ["a"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    body = chat(response_format=wanted, chat_template_kwargs={"enable_thinking": True})
    asking = asyncio.create_task(client.post(CHAT, json=body))
    submit = await rank.submit()
    assert rank.prompt(submit).endswith("<think>\n\n</think>\n\n")
    found = json.loads(submit.sampling.grammar)["grammars"][0]["json_schema"]
    assert found["properties"] == {"a": {"const": None}}
    rank.answer(submit, '{"a": null}')
    assert (await asking).json()["choices"][0]["message"]["content"] == '{"a": null}'


async def test_any_json_object_is_a_format_too(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = asyncio.create_task(client.post(CHAT, json=chat(response_format={"type": "json_object"})))
    submit = await rank.submit()
    assert json.loads(submit.sampling.grammar)["grammars"][0]["json_schema"]["type"] == "object"
    rank.answer(submit, "{}")
    assert (await asking).status_code == 200


async def test_log_probabilities_of_thinking_and_text_are_all_told(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    from ringcore.spec.engine import Finished, Logprobs, Started

    text = "<think>fox</think>dog"
    asking = asyncio.create_task(client.post(CHAT, json=chat(logprobs=True, stream=True)))
    submit = await rank.submit()
    tokens = rank.encode(text)
    rank.send(Started(id=submit.id))
    rank.tokens(submit, tokens, [Logprobs(-0.5)] * len(tokens))
    rank.send(Finished(id=submit.id, reason="stop", completion_tokens=len(tokens)))
    found = [e["choices"][0] async for e in events(await asking) if e != "[DONE]"]
    told = [c["logprob"] for choice in found for c in (choice["logprobs"] or {}).get("content", ())]
    assert told == [-0.5] * len(tokens)


async def test_no_model_code_is_loaded_to_read_calls(gateway: GatewayProcess) -> None:
    maps = await asyncio.to_thread(Path(f"/proc/{gateway.process.pid}/maps").read_text)
    assert "libmlx" not in maps
