"""The console's streaming client: against the real gateway, and against a server that misbehaves to order."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager

import pytest

from console.chat import stream_chat
from console.ports import ChatDelta, ChatMessage
from ringcore.spec.engine import Refused, Started
from ringcore.spec.errors import ApiError
from tests.gateway.harness import FakeRank, GatewayProcess
from tests.ring.harness import free_ports

HELLO = [ChatMessage("user", "hi")]
_OK = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
_TEXT = b'data: {"choices":[{"index":0,"delta":{"content":"fox"},"finish_reason":null}]}\n\n'
_STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}\n\n'
_DONE = b"data: [DONE]\n\n"
_Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def collect(url: str, **options: float) -> list[ChatDelta]:
    async with aclosing(stream_chat(url, HELLO, **options)) as deltas:
        return [delta async for delta in deltas]


async def failure(url: str, **options: float) -> ApiError:
    with pytest.raises(ApiError) as caught:
        await collect(url, **options)
    assert caught.value.failure.remedy
    assert caught.value.failure.exit_code == 7
    return caught.value


@asynccontextmanager
async def server(script: _Script) -> AsyncIterator[str]:
    """One that reads a request and then does what ``script`` does."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        (size,) = (int(line[15:]) for line in head.lower().split(b"\r\n") if line[:15] == b"content-length:")
        await reader.readexactly(size)
        try:
            await script(reader, writer)
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def saying(*parts: bytes) -> _Script:
    """Each part on its own, then the end of the connection."""

    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0)

    return script


# against the gateway ------------------------------------------------------------------------------


async def test_an_answer_comes_in_pieces_and_ends_with_the_figures(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    messages = [ChatMessage("system", "be brief"), ChatMessage("user", "größe 🦊"), *HELLO]
    async with aclosing(stream_chat(gateway.url, messages)) as deltas:
        first = asyncio.ensure_future(anext(deltas))
        submit = await rank.submit()
        assert rank.prompt(submit) == (
            "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\ngröße 🦊<|im_end|>\n"
            "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
        )
        rank.send(Started(id=submit.id))
        text = "the 🦊 jumps\u2028over\r\nit"
        tokens = rank.encode(text)
        rank.tokens(submit, tokens[:1])
        found = [await first]
        rank.tokens(submit, tokens[1:])
        rank.finish(submit, "length")
        found += [delta async for delta in deltas]
    assert "".join(delta.text for delta in found) == text
    last = found[-1]
    assert last.text == ""
    assert last.finish_reason == "length"
    assert last.prompt_tokens == len(submit.prompt)
    assert last.completion_tokens == len(tokens)
    assert 0 < last.first_token_seconds < 15
    assert last.tokens_per_second > 0
    assert not any(delta.finish_reason for delta in found[:-1])


async def test_closing_the_generator_cancels_the_request_on_the_ring(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    deltas = stream_chat(gateway.url, HELLO)
    first = asyncio.ensure_future(anext(deltas))
    submit = await rank.submit()
    rank.text(submit, "fox")
    await first
    await deltas.aclose()
    assert (await rank.cancel()).id == submit.id


async def test_cancelling_who_waits_for_the_first_word_cancels_the_request_on_the_ring(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    asking = asyncio.create_task(collect(gateway.url))
    submit = await rank.submit()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert (await rank.cancel()).id == submit.id


async def test_a_ring_lost_under_the_answer_is_an_error_after_what_came(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    deltas = stream_chat(gateway.url, HELLO)
    first = asyncio.ensure_future(anext(deltas))
    submit = await rank.submit()
    rank.text(submit, "fox")
    assert (await first).text
    await rank.close()
    with pytest.raises(ApiError, match="lost in the middle") as caught:
        async for _ in deltas:
            pass
    assert "mlxring status" in caught.value.failure.remedy


async def test_a_refusal_says_what_the_api_said_and_what_to_do(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    asking = asyncio.create_task(failure(gateway.url))
    submit = await rank.submit()
    rank.send(Refused(id=submit.id, cause="64 requests wait, 64 are allowed", kind="busy"))
    error = await asking
    assert "(429): 64 requests wait, 64 are allowed" in error.failure.cause
    assert "moment" in error.failure.remedy


async def test_a_conversation_past_the_context_is_told_to_start_anew(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    with pytest.raises(ApiError, match="context is 256 tokens") as caught:
        await anext(stream_chat(gateway.url, [ChatMessage("user", "fox " * 400)]))
    assert "new conversation" in caught.value.failure.remedy


# against servers that misbehave -------------------------------------------------------------------


async def test_events_cut_anywhere_with_comments_and_crlf_are_understood() -> None:
    text = '{"choices":[{"delta":{"content":"ö🦊"}}]}'.encode()
    stream = (
        b": a comment\r\n\r\nevent: x\r\nid: 7\r\ndata:" + text + b"\r\n:\r\n\r\n"
        b'data: {"choices":\ndata: [{"delta":{"content":"!"}}]}\n\n' + _STOP + _USAGE + _DONE
    )
    parts = [stream[at : at + 1] for at in range(len(stream))]
    async with server(saying(_OK, *parts)) as url:
        found = await collect(url)
    assert [delta.text for delta in found] == ["ö🦊", "!", ""]
    assert (found[-1].finish_reason, found[-1].prompt_tokens, found[-1].completion_tokens) == ("stop", 3, 4)


@pytest.mark.parametrize(
    "parts",
    [(_TEXT,), (_TEXT, _STOP, _USAGE), (), (_TEXT, _DONE), (_TEXT, _STOP, _DONE[:-1])],
    ids=["in the middle", "before done", "at once", "no reason", "half an event"],
)
async def test_a_stream_that_ends_too_early_broke_off(parts: Sequence[bytes]) -> None:
    async with server(saying(_OK, *parts)) as url:
        assert "broke off" in (await failure(url)).failure.cause


async def test_a_connection_that_dies_under_a_chunk_broke_off() -> None:
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    async with server(saying(head, b"%x\r\n" % len(_TEXT), _TEXT, b"\r\n400\r\nda")) as url:
        assert "broke off" in (await failure(url)).failure.cause


async def test_a_connection_that_closes_before_any_answer_broke_off() -> None:
    async with server(saying()) as url:
        assert "broke off" in (await failure(url)).failure.cause


async def test_an_error_event_is_the_error() -> None:
    event = b'data: {"error":{"message":"rank 2 is gone","type":"server_error","code":"unavailable"}}\n\n'
    async with server(saying(_OK, _TEXT, event)) as url:
        error = await failure(url)
    assert error.failure.cause == "rank 2 is gone"


async def test_what_is_no_chat_completion_is_an_error_that_says_so() -> None:
    async with server(saying(_OK, b"data: {nonsense\n\n")) as url:
        assert "no chat completion" in (await failure(url)).failure.cause


async def test_a_status_without_openais_error_is_named_all_the_same() -> None:
    async with server(saying(b"HTTP/1.1 502 Bad\r\ncontent-length: 4\r\n\r\nnope")) as url:
        assert "502" in (await failure(url)).failure.cause


@pytest.mark.parametrize("begun", [_OK + _TEXT, b""], ids=["under the answer", "before it"])
async def test_silence_past_the_limit_is_an_error_that_says_how_long(begun: bytes) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(begun)
        await reader.read()  # until the client gives up

    async with server(script) as url:
        error = await failure(url, silence_seconds=0.2)
    assert "sent nothing for 0.2 s" in error.failure.cause


async def test_a_port_where_nobody_listens_is_refused_and_named() -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    error = await failure(url)
    assert url in error.failure.cause
    assert "refused" in error.failure.cause


async def test_closing_closes_the_connection_at_once() -> None:
    gone = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_OK + _TEXT)
        await reader.read()
        gone.set()

    async with server(script) as url:
        deltas = stream_chat(url, HELLO)
        assert (await anext(deltas)).text == "fox"
        await deltas.aclose()
        await asyncio.wait_for(gone.wait(), 5)


async def test_a_proxy_in_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{free_ports(1)[0]}")
    async with server(saying(_OK, _TEXT, _STOP, _USAGE, _DONE)) as url:
        assert (await collect(url))[0].text == "fox"


async def test_speed_counts_the_tokens_after_the_first() -> None:
    async def script(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_OK + _TEXT)
        await writer.drain()
        await asyncio.sleep(0.3)  # the time that is measured
        writer.write(_TEXT + _STOP + _USAGE + _DONE)
        await writer.drain()

    async with server(script) as url:
        last = (await collect(url))[-1]
    assert 1 < last.tokens_per_second <= 3 / 0.25  # 3 tokens in at least 0.3 s, however busy the machine


def test_importing_the_client_does_not_import_httpx() -> None:
    code = "import sys, console.chat; sys.exit('httpx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("details", "cached"),
    [
        (b'{"cached_tokens":1024}', 1024),
        (b'{"cached_tokens":0}', 0),
        (b"{}", None),
        (b"null", None),
    ],
)
async def test_what_came_from_the_cache_is_told_when_the_api_says_so(
    details: bytes, cached: int | None
) -> None:
    usage = _USAGE.replace(b"3,", b'1180,"prompt_tokens_details":' + details + b",")
    async with server(saying(_OK, _TEXT, _STOP, usage, _DONE)) as url:
        last = (await collect(url))[-1]
    assert (last.prompt_tokens, last.cached_tokens) == (1180, cached)


async def test_a_question_with_bytes_that_are_no_text_is_asked_all_the_same() -> None:
    """A command line may hold anything; Python keeps it as lone surrogates."""
    async with server(saying(_OK, _TEXT, _STOP, _USAGE, _DONE)) as url:
        stream = stream_chat(url, [ChatMessage("user", "caf\udce9")])
        assert [delta.text async for delta in stream][:1] == ["fox"]
