"""The wire format of a stream, and that whoever stops reading stops the work."""

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from ringcore.gateway import sse
from ringcore.gateway.choices import Choices
from ringcore.gateway.errors import ApiFault, unavailable
from ringcore.gateway.sse import EventStream, until_disconnect
from tests.ring.harness import until


class FakeAnswer:
    """What `EventStream` uses of an answer."""

    read = (3, 9)

    def __init__(self, refusal: ApiFault | None = None) -> None:
        self.left = False
        self._refusal = refusal

    async def settle(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    async def __aenter__(self) -> "FakeAnswer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.left = True


class Client:
    """The server's side of one connection: ``sent`` is what went out; ``leave`` ends it."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.leave = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    @property
    def status(self) -> int:
        return self.sent[0]["status"]

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent[1:])


async def run(answer: FakeAnswer, events: AsyncGenerator[dict[str, Any]], client: Client) -> None:
    await EventStream(answer, events)({"type": "http"}, client.receive, client.send)


async def test_each_event_is_one_data_line_and_done_is_the_last() -> None:
    async def events() -> AsyncGenerator[dict[str, Any]]:
        yield {"text": "two\nlines, ö"}
        yield {"n": 2}

    client, answer = Client(), FakeAnswer()
    await run(answer, events(), client)
    assert client.status == 200
    assert client.body == 'data: {"text":"two\\nlines, ö"}\n\ndata: {"n":2}\n\ndata: [DONE]\n\n'.encode()
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}
    assert answer.left


async def test_a_refusal_before_the_first_event_is_an_ordinary_error() -> None:
    async def events() -> AsyncGenerator[dict[str, Any]]:
        pytest.fail("nothing may be generated")
        yield {}

    client, answer = Client(), FakeAnswer(unavailable("the ring is down"))
    await run(answer, events(), client)
    assert client.status == 503
    assert json.loads(client.body)["error"]["message"] == "the ring is down"
    assert answer.left


async def test_a_fault_later_is_the_last_event_and_there_is_no_done() -> None:
    async def events() -> AsyncGenerator[dict[str, Any]]:
        yield {"n": 1}
        raise unavailable("the ring was lost")

    client, answer = Client(), FakeAnswer()
    await run(answer, events(), client)
    last = client.body.strip().split(b"\n\n")[-1]
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "the ring was lost"
    assert b"[DONE]" not in client.body
    assert client.sent[-1]["more_body"] is False


async def test_a_client_that_leaves_ends_the_events_and_leaves_the_answer() -> None:
    closed, waiting = asyncio.Event(), asyncio.Event()

    async def events() -> AsyncGenerator[dict[str, Any]]:
        try:
            yield {"n": 1}
            waiting.set()
            await asyncio.Event().wait()
        finally:
            closed.set()

    client, answer = Client(), FakeAnswer()
    running = asyncio.create_task(run(answer, events(), client))
    await asyncio.wait_for(waiting.wait(), 5)
    client.leave.set()
    await asyncio.wait_for(running, 5)
    assert closed.is_set()
    assert answer.left


async def test_a_stream_that_has_nothing_to_say_tells_how_far_the_prompt_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sse, "SILENCE_SECONDS", 0.01)
    go = asyncio.Event()

    async def events() -> AsyncGenerator[dict[str, Any]]:
        yield {"n": 1}
        await go.wait()
        yield {"n": 2}

    client, answer = Client(), FakeAnswer()
    running = asyncio.create_task(run(answer, events(), client))
    await asyncio.to_thread(until, lambda: client.body.count(b": keepalive 3/9\n\n") >= 2, "two comments")
    go.set()
    await asyncio.wait_for(running, 5)
    *between, last, done = client.body.removesuffix(b"\n\n").split(b"\n\n")
    assert (between[0], last, done) == (b'data: {"n":1}', b'data: {"n":2}', b"data: [DONE]")
    assert set(between[1:]) == {b": keepalive 3/9"}
    assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_a_client_that_leaves_in_a_silence_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "SILENCE_SECONDS", 0.01)

    async def events() -> AsyncGenerator[dict[str, Any]]:
        await asyncio.Event().wait()
        yield {}

    client, answer = Client(), FakeAnswer()
    running = asyncio.create_task(run(answer, events(), client))
    await asyncio.to_thread(until, lambda: b": keepalive" in client.body, "a comment")
    client.leave.set()
    await asyncio.wait_for(running, 5)
    assert answer.left
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "silence"]


async def test_work_that_ends_first_gives_its_result_or_its_error() -> None:
    client = Client()

    async def work() -> int:
        return 5

    async def fails() -> int:
        raise unavailable("no")

    assert await until_disconnect(client.receive, work()) == 5
    with pytest.raises(ApiFault):
        await until_disconnect(client.receive, fails())


async def test_cancelling_the_wait_cancels_the_work() -> None:
    cancelled, started = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    waiting = asyncio.create_task(until_disconnect(Client().receive, work()))
    await asyncio.wait_for(started.wait(), 5)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert cancelled.is_set()


class SilentAnswer(FakeAnswer):
    """It never says anything, or fails at once."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self._error = error

    async def pieces(self) -> AsyncGenerator[Any]:
        if self._error is not None:
            raise self._error
        await asyncio.Event().wait()
        yield


@pytest.mark.parametrize("error", [unavailable("gone"), RuntimeError("the tokenizer broke")])
async def test_whatever_ends_one_of_several_answers_ends_the_request(error: Exception) -> None:
    answers: Any = [SilentAnswer(), SilentAnswer(error)]
    async with asyncio.timeout(10), Choices(answers, 2) as choices:
        with pytest.raises(type(error)):
            await anext(choices.pieces())
    assert all(answer.left for answer in answers)
