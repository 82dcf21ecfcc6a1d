"""What clients and proxies do to a connection: paths, encodings, pipelines, half a request, crowds."""

import asyncio
import contextlib
import gzip
import json
import re
import resource
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from uvicorn.server import ServerState

from ringcore.gateway import connection, trail
from ringcore.gateway.connection import Connection
from ringcore.gateway.trail import LINES_A_SECOND
from ringcore.spec.control import Say
from ringcore.spec.engine import Started
from tests.gateway.harness import FakeRank, GatewayProcess, chat
from tests.gateway.test_refusals import error_of
from tests.ring.harness import until

CHAT = "/v1/chat/completions"
KEY = "mlxring-0123456789abcdef0123"
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"


def request(body: dict[str, Any], *more: str) -> bytes:
    data = json.dumps(body).encode()
    lines = [f"POST {CHAT} HTTP/1.1", "Host: localhost", f"Content-Length: {len(data)}", *more, "", ""]
    return "\r\n".join(lines).encode() + data


@contextlib.asynccontextmanager
async def opened(gateway: GatewayProcess) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    """The next answer on a connection, one that has a length."""
    async with asyncio.timeout(10):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = re.search(r"content-length: (\d+)", head)
        body = await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split()[1]), json.loads(body) if body else None


# paths ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/v1/models/", "//v1/models", "/v1//models", "/v1/models//"])
async def test_a_slash_too_many_is_no_redirect(client: httpx.AsyncClient, path: str) -> None:
    response = await client.get(httpx.URL(str(client.base_url) + path))
    assert response.status_code == 200
    assert response.json()["object"] == "list"


async def test_a_post_with_a_slash_at_its_end_is_answered_there(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    asking = asyncio.create_task(client.post(CHAT + "/", json=chat()))
    rank.answer(await rank.submit(), "fox")
    assert (await asking).status_code == 200


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/chat/completions"])
async def test_a_base_url_that_is_wrong_by_v1_is_told_what_is_meant(
    client: httpx.AsyncClient, path: str
) -> None:
    error = error_of(await client.post(path, json=chat()), 404)
    assert f"is {CHAT} meant?" in str(error["message"])
    assert "/docs" in str(error_of(await client.post("/v1/responses", json={}), 404)["message"])


async def test_head_is_answered_like_get_and_options_names_the_methods(client: httpx.AsyncClient) -> None:
    head = await client.head("/v1/models")
    assert (head.status_code, head.content) == (200, b"")
    assert "POST" in (await client.options(CHAT)).headers["allow"]


async def test_the_model_tells_the_context_while_the_ring_can_serve(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    (model,) = (await client.get("/v1/models")).json()["data"]
    assert model["max_model_len"] == 256
    assert (await client.get("/v1/models/" + model["id"])).json() == model


# ids and the log -----------------------------------------------------------------------------------
async def test_every_answer_has_an_id_and_a_clients_own_is_kept(
    client: httpx.AsyncClient, rank: FakeRank
) -> None:
    made = [
        (await client.get(path)).headers["x-request-id"] for path in ("/health", "/nothing", "/v1/models")
    ]
    assert len(set(made)) == 3 and all(re.fullmatch(r"req_[0-9a-f]{32}", name) for name in made)
    given = await client.get("/health", headers={"X-Request-Id": "mine-1.2_3"})
    assert given.headers["x-request-id"] == "mine-1.2_3"
    for odd in ("x" * 200, "a b", "[bold]"):
        other = await client.get("/health", headers={"X-Request-Id": odd})
        assert other.headers["x-request-id"].startswith("req_")
    asking = asyncio.create_task(client.post(CHAT, json=chat(stream=True), headers={"X-Request-Id": "s1"}))
    rank.answer(await rank.submit(), "fox")
    assert (await asking).headers["x-request-id"] == "s1"


async def lines(gateway: GatewayProcess, name: str) -> list[str]:
    """The lines of the log with that id, once there is one."""

    def found(message: object) -> bool:
        return isinstance(message, Say) and f"{name} of 127.0.0.1" in message.text

    await asyncio.to_thread(gateway.wait, found, f"a line of {name}")
    return [m.text for m in gateway.said(Say) if found(m)]


async def test_the_log_has_a_line_of_every_request_that_asks_for_work_and_no_word_of_it(model: Path) -> None:
    with GatewayProcess(model, api_key=KEY) as gateway:
        rank = await FakeRank(gateway.ready()).connect()
        headers = {"Authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=gateway.url, headers=headers, trust_env=False) as client:
            asking = asyncio.create_task(
                client.post(CHAT + "?key=hidden", json=chat("a secret"), headers={"X-Request-Id": "one"})
            )
            rank.answer(await rank.submit(), "the answer")
            await asking
            (line,) = await lines(gateway, "one")
            assert re.fullmatch(rf"POST {CHAT} 200 after \d+\.\d\d s, one of 127\.0\.0\.1", line)
            await client.get("/health")
            await client.get("/v1/models")
            wrong = {"X-Request-Id": "two", "Authorization": "Bearer wrong-key"}
            await client.post(CHAT, json=chat(), headers=wrong)
            assert "401" in (await lines(gateway, "two"))[0]
            odd = {"X-Request-Id": "three", "X-Forwarded-For": "[bold]hidden"}
            await client.post("/nothing", headers=odd)
            await asyncio.to_thread(gateway.wait, lambda m: "three of ?" in getattr(m, "text", ""), "three")
        said = "\n".join(m.text for m in gateway.said(Say)) + gateway.log.read_text()
        for word in ("secret", "answer", KEY, "wrong-key", "hidden", "GET /health", "GET /v1/models"):
            assert word not in said
        await rank.close()


async def test_a_client_that_left_is_told_from_one_that_was_answered(
    gateway: GatewayProcess, client: httpx.AsyncClient, rank: FakeRank
) -> None:
    body = request(chat(stream=True), "X-Request-Id: left")
    async with opened(gateway) as (reader, writer):
        writer.write(body)
        submit = await rank.submit()
        rank.send(Started(id=submit.id))
        await reader.readuntil(b"data: ")
    assert "200, left unfinished" in (await lines(gateway, "left"))[0]


def test_a_flood_of_requests_does_not_fill_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = 100.0, list[str]()
    monkeypatch.setattr(trail.time, "monotonic", lambda: now)
    log = trail.Log(lambda _level, text: told.append(text))
    for number in range(3 * LINES_A_SECOND):
        log.add(f"request {number}")
    assert told == [f"request {number}" for number in range(LINES_A_SECOND)]
    now += 1
    log.add("later")
    assert told[-1] == f"later ({2 * LINES_A_SECOND} more requests are not told)"


async def test_what_breaks_in_the_gateway_is_counted_too(client: httpx.AsyncClient, rank: FakeRank) -> None:
    from ringcore.spec.engine import Token

    asking = asyncio.create_task(client.post(CHAT, json=chat(), headers={"X-Request-Id": "broken"}))
    submit = await rank.submit()
    rank.send(Started(id=submit.id), Token(id=submit.id, index=0, token=-1))  # no tokenizer decodes it
    response = await asking
    assert (response.status_code, response.headers["x-request-id"]) == (500, "broken")
    assert f'http_requests_total{{path="{CHAT}",status="500"}} 1.0' in (await client.get("/metrics")).text


# bodies --------------------------------------------------------------------------------------------
async def test_a_compressed_body_is_refused_for_what_it_is(client: httpx.AsyncClient, rank: FakeRank) -> None:
    body = gzip.compress(json.dumps(chat()).encode())
    response = await client.post(CHAT, content=body, headers={"Content-Encoding": "gzip"})
    assert "Content-Encoding 'gzip'" in str(error_of(response, 415)["message"])


async def test_a_body_is_asked_for_where_the_client_waits_for_that_and_not_when_it_is_too_large(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    head, _, body = request(chat(), "Expect: 100-continue").partition(b"\r\n\r\n")
    async with opened(gateway) as (reader, writer):
        writer.write(head + b"\r\n\r\n")
        assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 100 ")
        writer.write(body)
        rank.answer(await rank.submit(), "fox")
        assert (await answer(reader))[0] == 200
    large = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % (9 << 20), head)
    async with opened(gateway) as (reader, writer):
        writer.write(large + b"\r\n\r\n")
        status, told = await answer(reader)
        assert (status, told["error"]["code"]) == (413, "body_too_large")


# connections ---------------------------------------------------------------------------------------
async def test_requests_on_one_connection_at_once_are_answered_in_their_order(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    async with opened(gateway) as (reader, writer):
        writer.write(request(chat("one")) + MODELS + request(chat("two")))
        rank.answer(await rank.submit(), "first")
        assert (await answer(reader))[1]["choices"][0]["message"]["content"] == "first"
        assert (await answer(reader))[1]["object"] == "list"
        rank.answer(await rank.submit(), "second")
        assert (await answer(reader))[1]["choices"][0]["message"]["content"] == "second"


async def test_a_client_that_shuts_its_half_has_left_and_frees_the_ring(
    gateway: GatewayProcess, rank: FakeRank
) -> None:
    async with opened(gateway) as (_, writer):
        writer.write(request(chat(stream=True)))
        submit = await rank.submit()
        writer.write_eof()
        assert (await rank.cancel()).id == submit.id


async def test_hundreds_that_say_nothing_are_in_nobodys_way(model: Path) -> None:
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, most))  # with which a process begins on macOS
    try:
        process = GatewayProcess(model)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, most))
    with process as gateway, contextlib.ExitStack() as idle:
        rank = await FakeRank(gateway.ready()).connect()
        for _ in range(400):
            idle.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=15) as client:
            asking = asyncio.create_task(client.post(CHAT, json=chat()))
            rank.answer(await rank.submit(), "fox")
            assert (await asking).status_code == 200
        await rank.close()


@pytest.mark.parametrize("pieces", [1, 2, 7])
async def test_a_client_that_offers_another_protocol_keeps_its_body(
    gateway: GatewayProcess, rank: FakeRank, pieces: int
) -> None:
    """As Java's own does with every first request on a connection, and ``curl --http2``."""
    data = request(
        chat("one"), "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAA"
    )
    async with opened(gateway) as (reader, writer):
        for number in range(pieces):
            writer.write(data[number * len(data) // pieces : (number + 1) * len(data) // pieces])
            await writer.drain()
        rank.answer(await rank.submit(), "fox")
        assert (await answer(reader))[0] == 200
        writer.write(request(chat("two")))
        rank.answer(await rank.submit(), "dog")
        assert (await answer(reader))[1]["choices"][0]["message"]["content"] == "dog"
    assert "upgrade" not in gateway.log.read_text().lower()


@pytest.mark.parametrize("said", [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"GET nonsense\r\n\r\n"])
async def test_what_is_no_request_is_told_so_at_once(gateway: GatewayProcess, said: bytes) -> None:
    async with opened(gateway) as (reader, writer):
        writer.write(said)
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")


async def test_lines_between_two_requests_are_no_request(gateway: GatewayProcess) -> None:
    async with opened(gateway) as (reader, writer):
        for _ in range(2):
            writer.write(b"\r\n\r\n" + MODELS)
            assert (await answer(reader))[1]["object"] == "list"


async def test_a_head_without_end_is_refused_with_the_bound(gateway: GatewayProcess) -> None:
    async with opened(gateway) as (reader, writer):
        writer.write(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"x" * connection.HEAD_BYTES)
        status, told = await answer(reader)
        assert (status, told["error"]["code"]) == (431, "head_too_large")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 10) == b""


async def _no_content(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def served(
    app: Any = _no_content,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter, Connection]]:
    """A client's end and the server's of one connection."""
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_keep_alive=60)
    made: list[Connection] = []

    def make() -> Connection:
        made.append(Connection(config, ServerState(), {}))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        await asyncio.to_thread(until, lambda: made, "a connection")
        async with asyncio.timeout(10):
            yield reader, writer, made[0]
    finally:
        writer.close()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize("said", [b"", b"GET / HT", MODELS + b"GET / HT"])
async def test_who_does_not_come_to_the_end_of_a_head_is_left(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    async with served() as (reader, writer, ours):
        writer.write(said)
        found = await reader.read()  # to its end
        assert found.count(b"HTTP/1.1 204") == said.count(MODELS)
        assert ours._waiting is None


async def test_half_a_head_behind_an_answer_that_takes_long_does_not_end_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.05)
    go = asyncio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await go.wait()
        await _no_content(scope, receive, send)

    async with served(slow) as (reader, writer, ours):
        writer.write(MODELS + MODELS + b"GET / HT")
        await asyncio.to_thread(until, lambda: ours._waiting is not None, "the timer")
        first = ours._waiting
        await asyncio.to_thread(until, lambda: ours._waiting is not first, "another timer")
        assert not ours.transport.is_closing()
        go.set()
        for _ in range(2):
            assert b"204" in await reader.readuntil(b"\r\n\r\n")


async def test_a_connection_that_rests_after_an_answer_is_kept_and_its_peer_looked_after() -> None:
    async with served() as (reader, writer, ours):
        assert ours._waiting is not None
        for _ in range(2):
            writer.write(MODELS)
            assert b"204" in await reader.readuntil(b"\r\n\r\n")
            assert ours._waiting is None  # no head is due, so no timer runs
        peer = ours.transport.get_extra_info("socket")
        assert peer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            most = peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
            assert most == connection.GONE_SECONDS * 1000
