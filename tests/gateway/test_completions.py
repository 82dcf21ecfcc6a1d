"""POST /v1/completions against a real gateway process."""

import asyncio

import httpx
import pytest

from ringcore.spec.engine import Read, Started
from tests.gateway.harness import MODEL, FakeRank, GatewayProcess, events

COMPLETIONS = "/v1/completions"


def ask(client: httpx.AsyncClient, **body: object) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post(COMPLETIONS, json=body))


async def test_a_text_is_continued_as_it_stands(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = ask(client, prompt="the quick", max_tokens=5, model=MODEL)
    submit = await rank.submit()
    assert rank.prompt(submit) == "the quick"
    assert submit.max_tokens == 5
    rank.answer(submit, " brown fox", "length")
    body = (await asking).json()
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"index": 0, "text": " brown fox", "logprobs": None, "finish_reason": "length"}
    ]
    prompt, answer = len(rank.encode("the quick")), len(rank.encode(" brown fox"))
    assert body["usage"] == {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


@pytest.mark.parametrize("prompt", [[5, 6, 7], ["the fox"]])
async def test_token_ids_and_a_list_of_one_text_are_prompts_too(
    client: httpx.AsyncClient, rank: FakeRank, prompt: list[int] | list[str]
) -> None:
    asking = ask(client, prompt=prompt)
    submit = await rank.submit()
    assert submit.prompt == (prompt if isinstance(prompt[0], int) else rank.encode("the fox"))
    rank.answer(submit, "fox")
    assert (await asking).status_code == 200


async def test_a_prompt_of_many_thousand_tokens_reaches_rank_0_whole(
    gateway: GatewayProcess, client: httpx.AsyncClient
) -> None:
    rank = await FakeRank(gateway).connect(context=200_000)
    asking = ask(client, prompt="the quick brown fox\n" * 10_000)
    submit = await rank.submit()
    assert submit.prompt == rank.encode("the quick brown fox\n" * 10_000)
    rank.answer(submit, "fox")
    assert (await asking).json()["usage"]["prompt_tokens"] == len(submit.prompt)
    await rank.close()


async def test_a_stream_ends_with_the_reason_usage_and_done(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, prompt="the", stream=True, stream_options={"include_usage": True})
    submit = await rank.submit()
    rank.answer(submit, " größer fox")
    found = [event async for event in events(await asking)]
    assert "".join(e["choices"][0]["text"] for e in found[:-2]) == " größer fox"
    assert found[-3]["choices"][0]["finish_reason"] == "stop"
    assert found[-2]["usage"]["completion_tokens"] == len(rank.encode(" größer fox"))
    assert found[-1] == "[DONE]"


async def test_the_usage_says_how_much_of_the_prompt_was_not_computed(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = ask(client, prompt=["the quick brown", "the fox"])
    for cached in (2, 1):
        submit = await rank.submit()
        rank.send(Started(id=submit.id, cached_tokens=cached))
        rank.text(submit, "!")
        rank.finish(submit)
    assert (await asking).json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 3}


@pytest.mark.parametrize("prompt", ["the fox", "ids"])
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prompt_is_echoed_where_that_is_asked_for(
    client: httpx.AsyncClient, rank: FakeRank, prompt: str, stream: bool
) -> None:
    asked = rank.encode("the fox") if prompt == "ids" else prompt
    asking = ask(client, prompt=asked, echo=True, stream=stream, n=2, best_of=2)
    for _ in range(2):
        submit = await rank.submit()
        assert submit.prompt == rank.encode("the fox")
        rank.answer(submit, " jumps")
    response = await asking
    found = (
        [e for e in [event async for event in events(response)] if e != "[DONE]"]
        if stream
        else [response.json()]
    )
    for index in range(2):
        texts = [c["text"] for event in found for c in event["choices"] if c["index"] == index]
        assert "".join(texts) == "the fox jumps"


@pytest.mark.parametrize("asked", [False, True])
async def test_how_far_a_prompt_is_read_is_told_in_the_stream_of_those_who_ask(
    client: httpx.AsyncClient, rank: FakeRank, asked: bool
) -> None:
    asking = ask(client, prompt="the quick brown fox", stream=True, return_progress=asked)
    submit = await rank.submit()
    rank.send(Started(id=submit.id, cached_tokens=1), Read(id=submit.id, tokens=3))
    rank.text(submit, "!")
    rank.finish(submit)
    found = [event async for event in events(await asking)]
    told = [event["prompt_progress"] for event in found if "prompt_progress" in event]
    assert len(told) == asked
    if asked:
        told[0].pop("time_ms")
        assert told == [{"total": len(submit.prompt), "cache": 1, "processed": 3}]
    assert "".join(e["choices"][0]["text"] for e in found[:-1]) == "!"


async def test_a_stop_string_is_cut_off(client: httpx.AsyncClient, rank: FakeRank) -> None:
    asking = ask(client, prompt="the", stop="\n")
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    rank.text(submit, " fox\nand more")
    assert (await rank.cancel()).id == submit.id
    assert (await asking).json()["choices"][0]["text"] == " fox"


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (["one"] * 33, "33 prompts with n 1 are 33 answers, 32 are allowed"),
        ([1, "two"], "texts, or lists of token ids, or the ids of one text"),
        ([[1], []], "the prompt is empty"),
        ([], "the prompt is empty"),
        ("", "the prompt is empty"),
        ([320], "not in 0..319"),
        ([-1], "not in 0..319"),
        ([True], "prompt[0]"),
        (5, "prompt"),
    ],
)
async def test_what_is_no_prompt_is_refused_by_its_name(
    client: httpx.AsyncClient, rank: FakeRank, prompt: object, says: str
) -> None:
    response = await client.post(COMPLETIONS, json={"prompt": prompt})
    assert response.status_code == 400
    error = response.json()["error"]
    assert error["param"].startswith("prompt")
    assert says in error["message"]


async def test_several_prompts_are_answered_in_their_order_and_counted_together(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(COMPLETIONS, json={"prompt": ["the fox", [5, 6]], "n": 2}))
    submits = [await rank.submit() for _ in range(4)]
    assert [s.prompt for s in submits] == [rank.encode("the fox")] * 2 + [[5, 6]] * 2
    for number in (3, 1, 0, 2):
        rank.answer(submits[number], f"dog {number}")
    body = (await asking).json()
    assert [(c["index"], c["text"]) for c in body["choices"]] == [(n, f"dog {n}") for n in range(4)]
    assert body["usage"]["prompt_tokens"] == len(rank.encode("the fox")) + 2
    assert body["usage"]["completion_tokens"] == 4 * len(rank.encode("dog 0"))


async def test_a_prompt_that_is_refused_takes_those_before_it_along(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    response = await client.post(COMPLETIONS, json={"prompt": [[5, 6], [999]]})
    assert response.status_code == 400
    submit = await rank.submit()
    assert (await rank.cancel()).id == submit.id
