"""POST /v1/chat/completions against a real gateway process and a rank 0 that says what it is told."""

import asyncio

import httpx
import pytest

from ringcore.spec.engine import Read, Sampling, Started
from tests.gateway.harness import MODEL, FakeRank, chat, events, texts

CHAT = "/v1/chat/completions"


def ask(client: httpx.AsyncClient, **body: object) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post(CHAT, json=body))


async def test_the_template_is_applied_and_the_answer_comes_back_with_its_usage(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, **chat("is the ring serving"))
    submit = await rank.submit()
    assert rank.prompt(submit) == "<|im_start|>user\nis the ring serving<|im_end|>\n<|im_start|>assistant\n"
    assert submit.stop_tokens == [1]
    rank.answer(submit, "the ring is serving")
    response = await asking
    body = response.json()
    assert response.status_code == 200
    assert body["object"] == "chat.completion"
    assert body["model"] == MODEL
    assert body["id"] == f"chatcmpl-{submit.id}"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "the ring is serving"},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    answer = len(rank.encode("the ring is serving"))
    prompt = len(submit.prompt)
    assert body["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


async def test_system_messages_and_text_parts_reach_the_template_in_order(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(
        client,
        messages=[
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "the "}, {"type": "text", "text": "fox"}]},
        ],
    )
    submit = await rank.submit()
    assert rank.prompt(submit).startswith(
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nthe fox<|im_end|>\n"
    )
    rank.answer(submit, "fine")
    assert (await asking).status_code == 200


async def test_a_stream_gives_each_token_as_it_comes_then_usage_and_done(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    body = chat(stream=True, stream_options={"include_usage": True})
    asking = asyncio.create_task(client.send(client.build_request("POST", CHAT, json=body), stream=True))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    response = await asking
    assert response.headers["content-type"].startswith("text/event-stream")
    stream = events(response)
    assert (await anext(stream))["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    for token in rank.encode("quick brown"):
        # Nothing of the next token exists yet: each must be on the wire before it is sent.
        rank.tokens(submit, [token])
        event = await anext(stream)
        assert event["choices"][0]["delta"]["content"] == rank.gateway.tokenizer.decode([token])
        assert event["usage"] is None
    rank.finish(submit, "length")
    last = await anext(stream)
    assert last["choices"][0] == {"index": 0, "delta": {}, "logprobs": None, "finish_reason": "length"}
    usage = await anext(stream)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == len(rank.encode("quick brown"))
    assert usage["usage"]["prompt_tokens"] == len(submit.prompt)
    assert [event async for event in stream] == ["[DONE]"]
    await response.aclose()


@pytest.mark.parametrize("asked", [False, True])
async def test_how_far_the_prompt_is_read_comes_as_a_chunk_without_words_for_those_who_ask(
    client: httpx.AsyncClient, rank: FakeRank, asked: bool
) -> None:
    asking = ask(client, **chat(stream=True, return_progress=asked))
    submit = await rank.submit()
    rank.send(Started(id=submit.id, cached_tokens=2), Read(id=submit.id, tokens=5))
    rank.text(submit, "fox")
    rank.finish(submit)
    found = [event async for event in events(await asking)]
    told = [event for event in found if "prompt_progress" in event]
    assert len(told) == asked
    for event in told:
        assert event["choices"][0]["delta"] == {}
        assert event["prompt_progress"].pop("time_ms") >= 0
        assert event["prompt_progress"] == {"total": len(submit.prompt), "cache": 2, "processed": 5}
    assert texts(found) == "fox"


async def test_a_stream_has_no_usage_unless_it_is_asked_for(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, **chat(stream=True))
    rank.answer(await rank.submit(), "fox")
    assert "usage" not in (await asking).text


async def test_characters_of_several_tokens_come_whole(client: httpx.AsyncClient, rank: FakeRank) -> None:
    text = "the 🦊 jumps: größer, 日本語, 👩‍👩‍👧 done"
    asking = ask(client, **chat(stream=True))
    submit = await rank.submit()
    assert len(rank.encode("🦊")) == 4  # one token a byte
    rank.answer(submit, text)
    found = [event async for event in events(await asking)]
    assert texts(found) == text
    assert not any("\ufffd" in texts([event]) for event in found)


async def test_bytes_that_never_become_a_character_do_not_hold_back_the_answer(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, **chat())
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    rank.tokens(submit, [*rank.encode("fox"), *rank.encode("🦊")[:2]])
    rank.finish(submit, "length")
    assert (await asking).json()["choices"][0]["message"]["content"] == "fox\ufffd"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_stop_string_across_tokens_ends_the_answer_and_frees_the_ring(
    client: httpx.AsyncClient, rank: FakeRank, stream: bool
) -> None:
    asking = ask(client, **chat(stop=["lazy dog", "nowhere"], stream=stream))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    assert len(rank.encode(" lazy dog")) > 1
    rank.text(submit, "over the lazy dog while")
    assert (await rank.cancel()).id == submit.id
    response = await asking
    if stream:
        found = [event async for event in events(response)]
        assert texts(found) == "over the "
        assert found[-2]["choices"][0]["finish_reason"] == "stop"
    else:
        choice = response.json()["choices"][0]
        assert (choice["message"]["content"], choice["finish_reason"]) == ("over the ", "stop")
    event = await rank.gateway.request(submit.id, "done")
    assert event.completion_tokens > 0


async def test_the_beginning_of_a_stop_string_that_does_not_come_is_not_lost(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, **chat(stop="lazy dog"))
    rank.answer(await rank.submit(), "over the lazy")
    assert (await asking).json()["choices"][0]["message"]["content"] == "over the lazy"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_the_limit_is_passed_on_under_either_name(
    client: httpx.AsyncClient, rank: FakeRank, name: str
) -> None:
    asking = ask(client, **chat(**{name: 7}))
    submit = await rank.submit()
    assert submit.max_tokens == 7
    rank.answer(submit, "fox", "length")
    assert (await asking).json()["choices"][0]["finish_reason"] == "length"


async def test_without_a_limit_the_answer_may_fill_the_context(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, **chat())
    submit = await rank.submit()
    assert submit.max_tokens + len(submit.prompt) == 256
    rank.answer(submit, "fox")
    await asking


async def test_sampling_is_passed_on_and_greedy_unless_asked(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, **chat(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, seed=42))
    submit = await rank.submit()
    assert submit.sampling == Sampling(temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, seed=42)
    rank.answer(submit, "fox")
    await asking
    asking = ask(client, **chat(temperature=None))
    submit = await rank.submit()
    assert submit.sampling == Sampling(temperature=0, top_p=1, top_k=0, min_p=0, seed=None)
    rank.answer(submit, "fox")
    await asking


async def test_two_requests_at_once_do_not_mix(client: httpx.AsyncClient, rank: FakeRank) -> None:
    first = ask(client, **chat("one", stream=True))
    one = await rank.submit()
    second = ask(client, **chat("two"))
    two = await rank.submit()
    assert "one" in rank.prompt(one)
    assert "two" in rank.prompt(two)
    rank.send(Started(id=one.id), Started(id=two.id))
    for a, b in zip(rank.encode("brown fox"), rank.encode("lazy dog"), strict=False):
        rank.tokens(one, [a])
        rank.tokens(two, [b])
    shared = min(len(rank.encode("brown fox")), len(rank.encode("lazy dog")))
    rank.tokens(one, rank.encode("brown fox")[shared:])
    rank.tokens(two, rank.encode("lazy dog")[shared:])
    rank.finish(two)
    rank.finish(one)
    assert (await second).json()["choices"][0]["message"]["content"] == "lazy dog"
    assert texts([event async for event in events(await first)]) == "brown fox"


@pytest.mark.parametrize("name", [MODEL, "small-model", "Small-Model", ""])
async def test_the_model_answers_to_its_name_and_its_last_part(
    client: httpx.AsyncClient, rank: FakeRank, name: str
) -> None:
    asking = ask(client, **chat(model=name))
    rank.answer(await rank.submit(), "fox")
    assert (await asking).json()["model"] == MODEL
