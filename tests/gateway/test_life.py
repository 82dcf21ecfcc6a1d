"""A gateway's beginning and ends, as the agent and the operator meet them."""

import asyncio
import socket
import stat
import tempfile
from pathlib import Path

import httpx
import psutil
import pytest

from ringcore.spec.control import Fatal, GatewayReady
from ringcore.spec.deployment import ENGINE_SOCKET
from ringcore.spec.engine import Started
from tests.gateway.harness import FakeRank, GatewayProcess, chat, events, wait_exit
from tests.gateway.small_tokenizer import write_tokenizer
from tests.ring.harness import until

CHAT = "/v1/chat/completions"


def test_it_says_that_it_listens_when_it_does_and_not_before(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        assert [m.url for m in gateway.said(GatewayReady)] == [gateway.url]
        assert httpx.get(gateway.url + "/health/live", trust_env=False).status_code == 200


def test_the_socket_for_rank_0_is_its_owners_alone_and_replaces_a_stale_one(model: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="gw-"))
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(folder / ENGINE_SOCKET))
    with GatewayProcess(model, folder=folder) as gateway:
        gateway.ready()
        assert stat.S_IMODE(gateway.engine_socket.stat().st_mode) == 0o600
        with socket.socket(socket.AF_UNIX) as rank:
            rank.connect(str(gateway.engine_socket))


def test_a_taken_port_is_fatal_and_named(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with GatewayProcess(model, port=port) as gateway:
            assert wait_exit(gateway.process, 10) == 6
            gateway.wait(lambda m: isinstance(m, Fatal), "its last words")
            (fatal,) = gateway.said(Fatal)
            assert f"127.0.0.1:{port}" in fatal.failure.cause
            assert "port" in fatal.failure.remedy
            assert fatal.failure.exit_code == 6
            assert not gateway.said(GatewayReady)
            assert not gateway.engine_socket.exists()
            assert b"Traceback" not in gateway.log.read_bytes()


@pytest.mark.parametrize("tokenizer", [None, "{}", "no json"])
def test_a_folder_without_a_tokenizer_is_fatal_with_the_remedy(tmp_path: Path, tokenizer: str | None) -> None:
    folder = write_tokenizer(tmp_path / "broken")
    (folder / "tokenizer.json").unlink()
    if tokenizer is not None:
        (folder / "tokenizer.json").write_text(tokenizer)
    with GatewayProcess(folder) as gateway:
        assert wait_exit(gateway.process, 20) == 5
        gateway.wait(lambda m: isinstance(m, Fatal), "its last words")
        (fatal,) = gateway.said(Fatal)
        assert str(folder) in fatal.failure.cause
        assert "\n" not in fatal.failure.cause
        assert "tokenizer.json" in fatal.failure.remedy
        assert b"Traceback" not in gateway.log.read_bytes()


async def test_quit_ends_it_in_order_though_streams_are_open(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        rank = await FakeRank(gateway).connect()
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=15) as client:
            stream = asyncio.create_task(client.post(CHAT, json=chat(stream=True)))
            submit = await rank.submit()
            rank.send(Started(id=submit.id))
            rank.text(submit, "the")
            await gateway.request(submit.id, "running")
            whole = asyncio.create_task(client.post(CHAT, json=chat()))
            await rank.submit()
            idle = await client.get("/health")  # a connection that is kept alive
            assert idle.status_code == 200
            gateway.quit()
            found = [event async for event in events(await stream)]
            assert "the gateway is stopping" in found[-1]["error"]["message"]
            assert (await whole).status_code == 503
            code = await asyncio.to_thread(wait_exit, gateway.process, 3)
        assert code == 0
        assert not gateway.engine_socket.exists()
        await rank.gone()
        await rank.close()


async def test_quit_does_not_wait_for_a_client_that_reads_nothing(model: Path) -> None:
    with GatewayProcess(model) as gateway, socket.socket() as stalled:
        gateway.ready()
        rank = await FakeRank(gateway).connect()
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect(("127.0.0.1", gateway.port))
        body = b'{"messages": [{"role": "user", "content": "slow"}], "stream": true}'
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        stalled.sendall(head % len(body) + body)
        submit = await rank.submit()
        rank.send(Started(id=submit.id))
        rank.tokens(submit, rank.encode("fox") * 20_000)
        rank.finish(submit)
        await gateway.request(submit.id, "done")  # 8 MB that the client does not take
        gateway.quit()
        assert (await asyncio.to_thread(wait_exit, gateway.process, 4)) == 0
        await rank.close()


def test_sigterm_is_an_orderly_end_too(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        gateway.process.terminate()
        assert wait_exit(gateway.process, 3) == 0
        assert not gateway.engine_socket.exists()


async def test_a_lost_agent_ends_it_at_once_and_leaves_no_socket(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        rank = await FakeRank(gateway).connect()
        gateway.close_control()
        await asyncio.to_thread(wait_exit, gateway.process, 3)
        assert not gateway.engine_socket.exists()
        await rank.gone()
        await rank.close()


def test_a_quit_before_it_is_ready_is_heard(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.quit()
        assert wait_exit(gateway.process, 5) == 0
        assert not gateway.engine_socket.exists()


async def test_rank_0_may_come_before_the_tokenizer_is_loaded(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        await asyncio.to_thread(until, gateway.engine_socket.exists, "engine.sock")
        rank = await FakeRank(gateway).connect()
        gateway.ready()
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=15) as client:
            asking = asyncio.create_task(client.post(CHAT, json=chat()))
            rank.answer(await rank.submit(), "fox")
            assert (await asking).status_code == 200
        await rank.close()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_it_loads_neither_mlx_nor_torch(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        libraries = Path(f"/proc/{gateway.process.pid}/maps").read_text()
    assert "tokenizers" in libraries
    assert "libmlx" not in libraries
    assert "torch" not in libraries


async def test_an_idle_gateway_rests(model: Path) -> None:
    with GatewayProcess(model) as gateway:
        gateway.ready()
        rank = await FakeRank(gateway).connect()
        process = psutil.Process(gateway.process.pid)
        before = process.cpu_times()
        await asyncio.sleep(1.0)  # what is measured, not a wait
        after = process.cpu_times()
        assert after.user + after.system - before.user - before.system <= 0.05
        await rank.close()
