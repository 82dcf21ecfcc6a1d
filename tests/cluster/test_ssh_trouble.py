"""Each way in which a host cannot be reached is named, with what to do, in bounded time."""

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from console.cluster.connect import SshConnector
from console.cluster.ssh import SshHost, connect
from console.cluster.target import Patience, Target
from console.demo.hosts import EmbeddedHosts
from console.demo.server import EmbeddedServer
from ringcore.spec.errors import Failure, HostError
from tests.cluster.reach import options, reached, served, until


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    server = served(tmp_path / "home")
    yield server
    await server.close()


async def failure_of(target: Target, timeout: float = 4) -> Failure:
    began = time.monotonic()
    with pytest.raises(HostError) as caught:
        await connect(options(), target, patience=Patience(timeout, timeout, timeout))
    assert time.monotonic() - began < timeout + 1
    failure = caught.value.failure
    assert failure.host == "h1" and failure.remedy and failure.exit_code == 3
    return failure


def nobody(port: int) -> Target:
    """A server that is not ours, reached with none of the operator's own files."""
    return Target(host="127.0.0.1", port=port, known_hosts=b"", client_key=stranger().export_private_key())


def stranger() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


async def test_a_key_that_is_not_accepted(server: EmbeddedServer) -> None:
    target = await server.start()
    failure = await failure_of(replace(target, client_key=stranger().export_private_key()))
    assert "user operator was refused" in failure.cause
    assert "ssh-copy-id" in failure.remedy


async def test_a_host_that_is_not_known(server: EmbeddedServer) -> None:
    target = await server.start()
    assert target.known_hosts is not None
    key = asyncssh.import_public_key(target.known_hosts.split(b" ", 1)[1])
    failure = await failure_of(replace(target, known_hosts=b""))
    assert "unknown" in failure.cause and key.get_fingerprint() in failure.cause
    assert str(target.port) in failure.remedy


async def test_a_host_whose_key_has_changed_is_refused_with_both_fingerprints(server: EmbeddedServer) -> None:
    target = await server.start()
    assert target.known_hosts is not None
    shown = asyncssh.import_public_key(target.known_hosts.split(b" ", 1)[1])
    old = stranger()
    entry = f"[127.0.0.1]:{target.port} {old.export_public_key().decode()}".encode()
    failure = await failure_of(replace(target, known_hosts=entry))
    assert "has changed" in failure.cause
    assert shown.get_fingerprint() in failure.cause and old.get_fingerprint() in failure.cause
    assert f"ssh-keygen -R '[127.0.0.1]:{target.port}'" in failure.remedy


async def test_a_revoked_host_key(server: EmbeddedServer) -> None:
    target = await server.start()
    assert target.known_hosts is not None
    failure = await failure_of(
        replace(target, known_hosts=target.known_hosts + b"\n@revoked " + target.known_hosts)
    )
    assert "revoked" in failure.cause


async def test_nobody_listens() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        failure = await failure_of(nobody(port))
    assert f"127.0.0.1 port {port} refused the connection" in failure.cause


async def test_somebody_accepts_and_says_nothing() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        failure = await failure_of(nobody(silent.getsockname()[1]), timeout=0.5)
    assert "took the connection but did not finish an SSH key exchange" in failure.cause


async def test_a_server_that_hangs_up_at_once() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as other:
        failure = await failure_of(nobody(other.sockets[0].getsockname()[1]))
    assert "before a login" in failure.cause or "no SSH login" in failure.cause


async def test_something_else_than_ssh_answers() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as other:
        failure = await failure_of(nobody(other.sockets[0].getsockname()[1]))
    assert "no SSH login" in failure.cause


def test_a_server_that_was_offered_too_many_keys_is_told_with_what_to_configure() -> None:
    from console.cluster.ssh_attempt import Attempt, Given, Witness
    from console.cluster.ssh_errors import explain

    patience = Patience(1, 1, 1)
    attempt = Attempt("h1", Target(host="mini1"), Witness(Given(), patience), patience)
    failure = explain(asyncssh.ProtocolError("Too many authentication failures"), attempt).failure
    assert "mini1 port 22 gave up after too many keys" in failure.cause
    assert "IdentitiesOnly yes" in failure.remedy


async def test_a_name_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    failure = await failure_of(replace(nobody(22), host="mini9.local"))
    assert "the name mini9.local is not known" in failure.cause


async def test_a_connection_lost_in_the_middle_of_a_command(server: EmbeddedServer) -> None:
    host = await connect(options(), await server.start())
    running = asyncio.create_task(host.run(["/bin/sleep", "60"]))
    async with host.stream(["/bin/cat"], timeout=0) as there:
        await there.send(b"x\n")
        assert await anext(there.lines()) == b"x"
        await server.close()
        with pytest.raises(HostError, match=r"h1: .*connection") as caught:
            async with asyncio.timeout(5):
                async for _ in there.lines():
                    pass
    assert caught.value.failure.remedy
    with pytest.raises(HostError):
        await running
    with pytest.raises(HostError):
        await host.run(["/bin/echo"])
    with pytest.raises(HostError):
        await host.forward(80)
    with pytest.raises(HostError):
        await host.write("/nowhere/x", b"")
    await host.close()


async def test_a_server_that_ends_takes_its_commands_with_it(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    async with reached(tmp_path / "home") as host:
        running = asyncio.create_task(host.run(["/bin/sh", "-c", f"echo $$ > {mark}; sleep 60"]))
        await until(lambda: mark.exists() and mark.read_text())
    with pytest.raises(HostError):
        await running


async def test_a_server_stopped_dead_is_noticed_by_the_keepalive(
    server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.cluster.ssh.KEEPALIVE_SECONDS", 0.1)
    target = await server.start()
    assert target.port is not None
    async with Wall(target.port) as (port, stop):
        known = f"[127.0.0.1]:{port} ".encode() + (target.known_hosts or b"").split(b" ", 1)[1]
        host = await connect(options(), replace(target, port=port, known_hosts=known))
        async with host.stream(["/bin/cat"], timeout=0) as there:
            await there.send(b"x\n")
            assert await anext(there.lines()) == b"x"
            stop.set()
            with pytest.raises(HostError):
                async with asyncio.timeout(5):
                    await anext(there.lines())
        await host.close()


async def test_one_host_that_fails_does_not_keep_the_others_from_being_reached(tmp_path: Path) -> None:
    connector = SshConnector(EmbeddedHosts(tmp_path))
    try:
        good, bad = options(name="good"), options(name="bad", ssh="operator@127.0.0.1:1")
        logins = (connector.connect(host) for host in (bad, good))
        failed, there = await asyncio.gather(*logins, return_exceptions=True)
        assert isinstance(failed, HostError) and failed.failure.host == "bad"
        assert isinstance(there, SshHost)
        assert (await there.run(["/bin/sh", "-c", "echo $HOME"])).stdout == f"{tmp_path / 'good'}\n"
        await there.close()
    finally:
        await connector.close()


async def test_a_local_host_needs_somebody_who_serves_it() -> None:
    with pytest.raises(HostError, match="local hosts are not served"):
        await SshConnector().connect(options())


def test_asyncssh_is_imported_with_the_first_connection_only() -> None:
    script = (
        "import sys; sys.modules['asyncssh'] = None\n"
        "import console.cluster.connect, console.cluster.facts, console.cluster.provision\n"
        "import console.cluster.stop, console.cluster.follow, console.demo.hosts, console.demo.profile\n"
        "import console.demo.model\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


class Wall:
    """A relay to a port that stops passing anything on, either way, once ``stop`` is set."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> tuple[int, asyncio.Event]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1], self._stop

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server.close()
        await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        self._tasks += [
            asyncio.create_task(self._pass(reader, back)),
            asyncio.create_task(self._pass(there, writer)),
        ]

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(1 << 16):
                if not self._stop.is_set():
                    sink.write(data)
                    await sink.drain()
        finally:
            sink.close()
