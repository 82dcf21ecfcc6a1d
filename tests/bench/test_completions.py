"""Measured completions against the real gateway, with a rank 0 that answers as it is told."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from console.bench.completions import Completions
from console.bench.rounds import play
from ringcore.spec.engine import Refused, Started
from ringcore.spec.errors import ApiError
from tests.gateway.harness import FakeRank, GatewayProcess
from tests.gateway.small_tokenizer import write_tokenizer
from tests.ring.harness import free_ports


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    model: Path = write_tokenizer(tmp_path_factory.mktemp("model"))
    with GatewayProcess(model) as process:
        yield process.ready()


@pytest.fixture
async def rank(gateway: GatewayProcess) -> AsyncIterator[FakeRank]:
    rank = await FakeRank(gateway).connect(vocab_size=300)
    yield rank
    await rank.close()


@pytest.fixture
async def api(gateway: GatewayProcess, rank: FakeRank) -> AsyncIterator[Completions]:
    async with Completions(gateway.url, silence_seconds=10) as api:
        yield api


async def test_the_vocabulary_is_what_the_ring_says(api: Completions) -> None:
    assert await api.vocabulary() == 300


async def test_the_prompts_ids_reach_the_ring_and_tokens_and_pieces_are_counted(
    api: Completions, rank: FakeRank
) -> None:
    asking = asyncio.create_task(api.ask([40, 41, 42], 5))
    submit = await rank.submit()
    assert (submit.prompt, submit.max_tokens) == ([40, 41, 42], 5)
    rank.answer(submit, "fox é", "length")  # the last character is two tokens
    answer = await asking
    assert answer.prompt_tokens == 3
    assert answer.tokens == len(rank.encode("fox é"))
    assert 0 < len(answer.arrivals) < answer.tokens
    assert answer.began <= answer.first <= answer.arrivals[-1] <= answer.ended
    assert answer.reason == "length"
    assert answer.tokens_within(answer.began - 1, answer.ended) == pytest.approx(answer.tokens)


async def test_text_with_unusual_line_ends_is_one_piece_and_breaks_nothing(
    api: Completions, rank: FakeRank
) -> None:
    asking = asyncio.create_task(api.ask([40], 9))
    submit = await rank.submit()
    rank.answer(submit, "a\u2028b\x85c\rd", "stop")
    answer = await asking
    assert answer.tokens == len(rank.encode("a\u2028b\x85c\rd"))


async def test_a_round_asks_all_at_once_and_tells_who_ended_early(api: Completions, rank: FakeRank) -> None:
    playing = asyncio.create_task(play(api, [[40], [50]], 3))
    submits = [await rank.submit(), await rank.submit()]  # the second comes before the first is answered
    for submit in submits:
        rank.send(Started(id=submit.id))
        rank.text(submit, "f")
    for submit, text in zip(submits, ("ox", "o"), strict=True):
        rank.text(submit, text)
        rank.finish(submit, "length")
    found = await playing
    assert sorted(submit.prompt for submit in submits) == [[40], [50]]
    assert found.tokens == 2 * len(rank.encode("f")) + len(rank.encode("ox")) + len(rank.encode("o"))
    assert len(found.first_token) == 2
    assert found.ended_early >= 1


async def test_a_round_that_is_broken_off_frees_every_place_on_the_ring(
    api: Completions, rank: FakeRank
) -> None:
    playing = asyncio.create_task(play(api, [[40], [50], [60]], 200))
    submits = [await rank.submit() for _ in range(3)]
    for submit in submits:
        rank.send(Started(id=submit.id))
        rank.text(submit, "fox")
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    assert {(await rank.cancel()).id for _ in range(3)} == {submit.id for submit in submits}


async def test_one_refused_request_ends_the_round_and_frees_the_others(
    api: Completions, rank: FakeRank
) -> None:
    playing = asyncio.create_task(play(api, [[40], [50]], 200))
    running, refused = await rank.submit(), await rank.submit()
    rank.send(Started(id=running.id))
    rank.send(Refused(id=refused.id, cause="the queue is full", kind="busy"))
    with pytest.raises(ApiError, match=r"429.*the queue is full") as caught:
        await playing
    assert caught.value.failure.remedy
    assert (await rank.cancel()).id == running.id


async def test_a_ring_lost_under_an_answer_is_an_error_that_says_so(api: Completions, rank: FakeRank) -> None:
    came = asyncio.Event()
    asking = asyncio.create_task(api.ask([40], 200, lambda _: came.set()))
    submit = await rank.submit()
    rank.send(Started(id=submit.id))
    rank.text(submit, "fox")
    await asyncio.wait_for(came.wait(), 10)  # before that, the API may still refuse instead
    await rank.close()
    with pytest.raises(ApiError, match="broke off"):
        await asking


async def test_a_port_where_nothing_listens_is_an_error_with_a_remedy() -> None:
    async with Completions(f"http://127.0.0.1:{free_ports(1)[0]}") as api:
        with pytest.raises(ApiError) as caught:
            await api.ask([40], 1)
    assert "mlxring status" in caught.value.failure.remedy
