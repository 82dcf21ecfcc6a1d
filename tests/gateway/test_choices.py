"""Several answers to one chat, and conversations that the gateway holds."""

import asyncio
from typing import Any

import httpx

from ringcore.spec.engine import Refused, Started
from tests.gateway.harness import FakeRank, chat, events
from tests.gateway.test_refusals import error_of

CHAT = "/v1/chat/completions"


def post(client: httpx.AsyncClient, **body: Any) -> "asyncio.Task[httpx.Response]":
    return asyncio.create_task(client.post(CHAT, json=body))


async def test_n_answers_have_seeds_of_their_own_and_come_in_order(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = post(client, **chat(n=3, seed=2**63 - 2, temperature=1))
    submits = [await rank.submit() for _ in range(3)]
    assert [s.sampling.seed for s in submits] == [2**63 - 2, 2**63 - 1, 0]
    assert len({tuple(s.prompt) for s in submits}) == 1
    for number in (1, 2, 0):
        rank.answer(submits[number], "the dog" * (number + 1))
    body = (await asking).json()
    assert [c["message"]["content"] for c in body["choices"]] == ["the dog" * (n + 1) for n in range(3)]
    assert [c["index"] for c in body["choices"]] == [0, 1, 2]
    assert body["usage"]["prompt_tokens"] == len(submits[0].prompt)
    assert body["usage"]["completion_tokens"] == sum(len(rank.encode("the dog" * n)) for n in (1, 2, 3))


async def test_n_answers_are_streamed_as_they_come_each_with_its_number_and_end(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = post(client, **chat(n=2, stream=True))
    submits = [await rank.submit() for _ in range(2)]
    rank.answer(submits[1], "fox")
    rank.answer(submits[0], "dog", "length")
    found = [e["choices"][0] async for e in events(await asking) if e != "[DONE]"]
    for index, text, reason in ((0, "dog", "length"), (1, "fox", "stop")):
        mine = [c for c in found if c["index"] == index]
        assert "".join(c["delta"].get("content", "") for c in mine) == text
        assert [c["finish_reason"] for c in mine if c["finish_reason"]] == [reason]


async def test_if_one_of_n_finds_no_place_all_are_taken_back(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = post(client, **chat(n=2))
    first, second = [await rank.submit() for _ in range(2)]
    rank.send(Started(id=first.id), Refused(id=second.id, cause="64 wait", kind="busy"))
    error_of(await asking, 429)
    assert (await rank.cancel()).id == first.id


async def test_a_conversation_goes_on_with_what_is_new_is_listed_and_forgotten(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    for number, (said, answer) in enumerate((("the fox", "the dog"), ("is lazy", "quick"))):
        asking = post(client, **chat(said, conversation_id="c1", stream=bool(number)))
        submit = await rank.submit()
        prompt = rank.prompt(submit)
        rank.answer(submit, answer)
        assert (await asking).status_code == 200
    assert prompt.index("the fox") < prompt.index("the dog") < prompt.index("is lazy")
    assert prompt.count("<|im_start|>") == 4
    (held,) = (await client.get("/v1/conversations")).json()["data"]
    assert (held["id"], held["messages"]) == ("c1", 4)
    assert held["tokens"] == len(submit.prompt) + len(rank.encode("quick"))
    assert (await client.delete("/v1/conversations/c1")).json()["deleted"] is True
    assert (await client.get("/v1/conversations")).json()["data"] == []
    error_of(await client.delete("/v1/conversations/c1"), 404)


async def test_a_client_that_sends_everything_again_is_understood(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = post(client, **chat("the fox", conversation_id="c2"))
    rank.answer(await rank.submit(), "dog")
    await asking
    again = [{"role": "user", "content": "the fox"}, {"role": "assistant", "content": "dog"},
             {"role": "user", "content": "and"}]  # fmt: skip
    asking = post(client, messages=again, conversation_id="c2")
    submit = await rank.submit()
    assert rank.prompt(submit).count("the fox") == 1
    rank.answer(submit, "so")
    await asking
    await client.delete("/v1/conversations/c2")


async def test_a_turn_that_fails_leaves_the_conversation_as_it_was_and_two_at_once_are_refused(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = post(client, **chat("the fox", conversation_id="c3"))
    submit = await rank.submit()
    error = error_of(await client.post(CHAT, json=chat("x", conversation_id="c3")), 409)
    assert error["code"] == "conversation_busy"
    rank.send(Refused(id=submit.id, cause="never"))
    error_of(await asking, 400)
    assert (await client.get("/v1/conversations")).json()["data"] == []
    asking = post(client, **chat("the dog", conversation_id="c3"))
    submit = await rank.submit()
    assert "fox" not in rank.prompt(submit)
    rank.answer(submit, "so")
    await asking
    await client.delete("/v1/conversations/c3")


async def test_embeddings_are_told_as_not_offered(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/embeddings", json={"input": "x", "model": "y"})
    assert "not offered" in str(error_of(response, 501)["message"])
