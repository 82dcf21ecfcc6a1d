"""Log-probabilities over HTTP, in OpenAI's shapes: each token with the text that it begins in."""

import asyncio
from typing import Any

import httpx
import pytest

from ringcore.spec.engine import Logprobs, Started, Submit
from tests.gateway.harness import FakeRank, chat, events, texts

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"


def ask(client: httpx.AsyncClient, path: str, **body: Any) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post(path, json=body))


def scores(tokens: list[int]) -> list[Logprobs]:
    """Different ones for each, with two likeliest: the token itself and the end."""
    return [Logprobs(-0.25 * at, ((token, -0.25 * at), (1, -9.5))) for at, token in enumerate(tokens)]


def say(rank: FakeRank, submit: Submit, text: str) -> list[int]:
    tokens = rank.encode(text)
    rank.send(Started(id=submit.id))
    rank.tokens(submit, tokens, scores(tokens))
    return tokens


def joined(content: list[dict[str, Any]]) -> str:
    return b"".join(bytes(item["bytes"]) for item in content).decode()


async def test_a_chat_tells_of_each_token_its_text_bytes_and_the_likeliest(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, CHAT, **chat(logprobs=True, top_logprobs=2))
    submit = await rank.submit()
    assert submit.sampling.logprobs == 2
    tokens = say(rank, submit, " fox")
    rank.finish(submit)
    choice = (await asking).json()["choices"][0]
    assert choice["logprobs"]["refusal"] is None
    content = choice["logprobs"]["content"]
    assert joined(content) == choice["message"]["content"] == " fox"
    assert [item["logprob"] for item in content] == [-0.25 * at for at in range(len(tokens))]
    end = {"token": "<|im_end|>", "logprob": -9.5, "bytes": list(b"<|im_end|>")}
    for item in content:
        assert set(item) == {"token", "logprob", "bytes", "top_logprobs"}
        own = {key: item[key] for key in ("token", "logprob", "bytes")}
        assert item["top_logprobs"] == [own, end]


async def test_a_completion_has_them_as_lists_with_offsets(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = ask(client, COMPLETIONS, prompt="the", logprobs=2)
    submit = await rank.submit()
    tokens = say(rank, submit, " größer 🦊 fox")
    rank.finish(submit)
    choice = (await asking).json()["choices"][0]
    found = choice["logprobs"]
    assert set(found) == {"tokens", "token_logprobs", "top_logprobs", "text_offset"}
    assert found["token_logprobs"] == [-0.25 * at for at in range(len(tokens))]
    for token, logprob, top, offset in zip(
        found["tokens"], found["token_logprobs"], found["top_logprobs"], found["text_offset"], strict=True
    ):
        assert top == {token: logprob, "<|im_end|>": -9.5}
        if not token.startswith("\\x"):
            assert choice["text"][offset:].startswith(token)
    assert found["tokens"].count("\\xf0") == 1
    assert found["text_offset"].count(choice["text"].index("🦊")) == 4, "one character of four tokens"


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
async def test_an_answer_that_was_not_asked_for_them_has_none(
    client: httpx.AsyncClient, rank: FakeRank, path: str
) -> None:
    asking = ask(client, path, **(chat() if path == CHAT else {"prompt": "the"}))
    submit = await rank.submit()
    assert submit.sampling.logprobs is None
    rank.answer(submit, "fox")
    assert (await asking).json()["choices"][0]["logprobs"] is None


async def test_an_empty_answer_has_an_empty_list(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = ask(client, CHAT, **chat(logprobs=True))
    submit = await rank.submit()
    say(rank, submit, "")
    rank.finish(submit)
    assert (await asking).json()["choices"][0]["logprobs"]["content"] == []


@pytest.mark.parametrize("stop", [None, "lazy dog"])
async def test_a_stream_brings_each_token_with_the_text_it_begins_in(
    client: httpx.AsyncClient, rank: FakeRank, stop: str | None
) -> None:
    text = "over the lazy 🦊, the lazy "
    asking = ask(client, CHAT, **chat(logprobs=True, stream=True, stop=stop))
    submit = await rank.submit()
    tokens = say(rank, submit, text)
    rank.finish(submit, "length")
    found = [event for event in [e async for e in events(await asking)] if event != "[DONE]"]
    assert texts(found) == text
    behind = 0
    everything: list[dict[str, Any]] = []
    for event in found:
        choice = event["choices"][0]
        if choice["logprobs"] is not None:
            assert choice["logprobs"]["content"]
            everything += choice["logprobs"]["content"]
        behind += len(choice["delta"].get("content", "").encode())
        before = sum(len(item["bytes"]) for item in everything[:-1])
        assert before <= behind, "no token comes before the text it begins in"
    assert joined(everything) == text
    assert [item["logprob"] for item in everything] == [-0.25 * at for at in range(len(tokens))]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("stop", [" lazy dog", "lazy dog"])
async def test_tokens_of_a_stop_string_have_none(
    client: httpx.AsyncClient, rank: FakeRank, path: str, stream: bool, stop: str
) -> None:
    body: dict[str, Any] = {"stop": stop, "stream": stream}
    body |= chat(logprobs=True) if path == CHAT else {"prompt": "the", "logprobs": 0}
    asking = ask(client, path, **body)
    submit = await rank.submit()
    say(rank, submit, "over the lazy dog while")
    await rank.cancel()
    response = await asking
    bodies = [e async for e in events(response)][:-1] if stream else [response.json()]
    shown, told = "", ""
    for one in bodies:
        for choice in one["choices"]:
            where = choice.get("delta") or choice.get("message") or choice
            shown += where.get("content") or where.get("text") or ""
            if choice["logprobs"]:
                content = choice["logprobs"].get("content", [])
                told += joined(content) + "".join(choice["logprobs"].get("tokens", []))
    assert shown == "over the lazy dog".removesuffix(stop)
    # A token may begin before the stop string and go on into it; none begins in it.
    assert told.startswith(shown)
    extra = told[len(shown) :]
    assert not extra if stop.startswith(" ") else stop.startswith(extra)
    assert len(extra) < len("lazy dog")


async def test_a_token_without_text_is_told_at_the_end(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = ask(client, CHAT, **chat(logprobs=True))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    tokens = [*rank.encode("fox"), 0]
    rank.tokens(submit, tokens, scores(tokens))
    rank.finish(submit)
    choice = (await asking).json()["choices"][0]
    assert choice["message"]["content"] == "fox"
    assert joined(choice["logprobs"]["content"]) == "fox<|im_start|>"


async def test_bytes_that_never_become_a_character_are_told_at_the_end(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, CHAT, **chat(logprobs=True, stream=True))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    half = rank.encode("🦊")[:2]
    rank.tokens(submit, half, scores(half))
    rank.finish(submit, "length")
    found = [event async for event in events(await asking)]
    content = [
        item
        for event in found[:-1]
        if event["choices"][0]["logprobs"]
        for item in event["choices"][0]["logprobs"]["content"]
    ]
    assert [item["bytes"] for item in content] == [[0xF0], [0x9F]]
    assert [item["token"] for item in content] == ["\\xf0", "\\x9f"]
