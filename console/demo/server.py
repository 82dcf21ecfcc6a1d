"""An SSH server on loopback that runs commands as this user in a folder of their own. Needs asyncssh.

One key logs in; there is no password, no terminal, no agent, and forwarding leads to loopback only.
"""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import asyncssh

from console.cluster.target import Target

_USER = "operator"
_CHUNK = 1 << 16
_END_SECONDS = 5.0
_LOOPBACK = ("127.0.0.1", "localhost")


class EmbeddedServer:
    """Keys are made at each start and live in memory only."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self._home = home
        self._environment = environment
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._commands: set[asyncio.Task[None]] = set()

    async def start(self) -> Target:
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        client_key = asyncssh.generate_private_key("ssh-ed25519")
        authorized = asyncssh.import_authorized_keys(client_key.export_public_key().decode())
        self._acceptor = await asyncssh.create_server(
            lambda: _Login(self._connections),
            "127.0.0.1",
            0,
            server_host_keys=[host_key],
            authorized_client_keys=authorized,
            process_factory=self._serve,
            encoding=None,
            line_editor=False,
            allow_pty=False,
            allow_scp=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            password_auth=False,
            kbdint_auth=False,
            compression_algs=["none"],
            reuse_address=True,
        )
        port = self._acceptor.get_port()
        public = host_key.export_public_key().decode()
        return Target(
            host="127.0.0.1",
            port=port,
            user=_USER,
            known_hosts=f"[127.0.0.1]:{port} {public}".encode(),
            client_key=client_key.export_private_key(),
        )

    async def close(self) -> None:
        if self._acceptor is None:
            return
        self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()
        if self._commands:  # their connections are gone, which ends them
            _, hanging = await asyncio.wait(self._commands, timeout=_END_SECONDS)
            for command in hanging:
                command.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
        await self._acceptor.wait_closed()

    def _serve(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        # a task of our own: the connection's would be cancelled with it, in the middle of clearing away
        task = asyncio.create_task(self._run_to_the_end(process))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _run_to_the_end(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        try:
            await self._run(process)
        except (OSError, asyncssh.Error):
            process.close()  # the client has gone

    async def _run(self, process: "asyncssh.SSHServerProcess[bytes]") -> None:
        if process.command is None or process.subsystem is not None:
            process.stderr.write(b"this host runs commands only\n")
            process.exit(1)
            return
        channel = process.channel  # it is None once the connection is lost, and a child takes time to start
        child = await asyncio.create_subprocess_exec(
            self._environment.get("SHELL", "/bin/sh"),
            "-c",
            process.command,
            cwd=self._home,
            env=self._environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert child.stdin is not None and child.stdout is not None and child.stderr is not None
        pumps = [
            asyncio.create_task(_pump_out(child.stdout, process.stdout)),
            asyncio.create_task(_pump_out(child.stderr, process.stderr)),
        ]
        feeding = asyncio.create_task(_pump_in(process, child.stdin, child.pid))
        gone = asyncio.create_task(channel.wait_closed())
        ended = asyncio.gather(child.wait(), *pumps)
        try:
            await asyncio.wait({gone, ended}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()  # raises when a pump broke: the child would go on, and write, for nobody
                _report(process, await child.wait())
        finally:
            _kill_group(child.pid)
            for task in (feeding, gone, *pumps):
                task.cancel()
            await asyncio.gather(feeding, gone, ended, return_exceptions=True)
            # `wait` waits for the pipes too: one that is full is read no more, another is held by what has
            # left the child's group
            for stream in (0, 1, 2):
                child._transport.get_pipe_transport(stream).close()  # pyright: ignore
            await child.wait()


class _Login(asyncssh.SSHServer):
    def __init__(self, connections: "set[asyncssh.SSHServerConnection]") -> None:
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)

    def connection_requested(self, dest_host: str, dest_port: int, orig_host: str, orig_port: int) -> bool:
        return dest_host in _LOOPBACK


async def _pump_out(source: asyncio.StreamReader, sink: "asyncssh.SSHWriter[bytes]") -> None:
    while data := await source.read(_CHUNK):
        sink.write(data)
        await sink.drain()


async def _pump_in(
    process: "asyncssh.SSHServerProcess[bytes]", sink: asyncio.StreamWriter, group: int
) -> None:
    with suppress(OSError, asyncssh.Error):
        while True:
            try:
                data = await process.stdin.read(_CHUNK)
            except asyncssh.SignalReceived as request:
                with suppress(ProcessLookupError):
                    os.killpg(group, getattr(signal, f"SIG{request.signal}", signal.SIGTERM))
                continue
            if not data:
                break
            sink.write(data)
            await sink.drain()
    with suppress(OSError):
        sink.close()


def _report(process: "asyncssh.SSHServerProcess[bytes]", status: int) -> None:
    if status < 0:
        process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
    else:
        process.exit(status)


def _kill_group(group: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
