"""One host over SSH (asyncssh): log in as OpenSSH would, run, stream, write, forward.

asyncssh is imported when the first connection is made, not before: it costs a command 0.2 s to start.
Knows no paths of ours and nothing of what the commands mean.
"""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from console.audit import Audit
from console.cluster.answers import Answers
from console.cluster.host import Attached, Completed
from console.cluster.quoting import framed_command
from console.cluster.target import Patience, Target, parse_target
from ringcore.spec.errors import HostError
from ringcore.spec.profile import HostOptions

if TYPE_CHECKING:
    import asyncssh

    from console.cluster.ssh_process import RemoteProcess

PATIENCE = Patience(connect=4.0, exchange=5.0, login=10.0)
KEEPALIVE_SECONDS, KEEPALIVE_COUNT = 5, 3
_AGAIN_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8)
_REFUSED = 255  # what `ssh` ends with when there is no connection

# $1 path, $2 mode, $3 bytes: a connection that breaks half-way must not leave a short file under the name
_WRITE = """
PATH=$PATH:/usr/bin:/bin; export PATH
umask 077
case $1 in */*) mkdir -p -- "${1%/*}/" || exit 1;; esac
new="$1.$$.new"
trap 'rm -f -- "$new"' EXIT
cat > "$new" || exit 1
[ $(($(wc -c < "$new"))) -eq "$3" ] || { echo "the data broke off" >&2; exit 1; }
chmod "$2" "$new" && { sync "$new" 2>/dev/null || sync; } && mv -f -- "$new" "$1"
"""


async def connect(
    options: HostOptions,
    target: Target | None = None,
    *,
    answers: Answers | None = None,
    audit: Audit | None = None,
    patience: Patience = PATIENCE,
) -> "SshHost":
    """Log in at ``target`` (by default where ``options.ssh`` says). Raises `HostError`.

    What the operator must be asked is asked through ``answers``; what is done there is told to ``audit``."""
    target = target or parse_target(options)
    from console.cluster.ssh_login import login

    where = f"{target.user}@{target.place}" if target.user else target.place
    entry = audit.begin(options.name, where, ["ssh", where]) if audit else None
    status = _REFUSED
    try:
        connection = await login(options.name, target, answers or Answers(), patience)
        status = 0
    finally:
        if entry:
            entry.end(status)
    return SshHost(options, connection, audit, where)


class SshHost:
    """See `console.cluster.host.Host`."""

    def __init__(
        self,
        options: HostOptions,
        connection: "asyncssh.SSHClientConnection",
        audit: Audit | None = None,
        where: str = "",
    ) -> None:
        self.options = options
        self._connection = connection
        self._audit = audit
        self._where = where
        self._listeners: dict[int, asyncssh.SSHListener] = {}
        self._forwarding = asyncio.Lock()

    @property
    def lost(self) -> bool:
        return self._connection.is_closed()

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 30.0,
        env: dict[str, str] | None = None,
    ) -> Completed:
        process = await self._start(argv, env)
        try:
            async with asyncio.timeout(timeout):
                return await process.communicate(stdin)
        except TimeoutError:
            raise self._too_slow(argv, timeout) from None
        finally:
            await process.end()

    def stream(
        self, argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[Attached]:
        return self._stream(argv, timeout, env)

    @asynccontextmanager
    async def _stream(
        self, argv: Sequence[str], timeout: float, env: dict[str, str] | None
    ) -> AsyncGenerator[Attached, None]:
        process = await self._start(argv, env)
        if not timeout and process.entry is not None:
            process.entry.runs_on()
        limit = asyncio.timeout(timeout or None)
        try:
            async with limit:
                yield process
        except TimeoutError:
            if not limit.expired():
                raise
            raise self._too_slow(argv, timeout) from None
        finally:
            await process.end()

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        argv = ["/bin/sh", "-c", _WRITE, "sh", path, f"{mode:o}", str(len(data))]
        # a slow link carries 1 MB/s
        result = await self.run(argv, stdin=data, timeout=30 + len(data) / 1e6)
        if result.status != 0:
            raise HostError(
                f"writing {path} failed: {result.stderr.strip()[-300:] or f'status {result.status}'}",
                "see that the folder can be written by this user and that the disk is not full",
                host=self.options.name,
            )

    async def forward(self, port: int) -> int:
        from console.cluster.ssh_errors import BROKEN, lost

        async with self._forwarding:
            if self._connection.is_closed():  # a listener could be opened all the same
                raise lost(self.options.name, None, f"forwarding port {port}")
            listener = self._listeners.get(port)
            if listener is None:
                argv = ["forward", str(port)]
                entry = self._audit.begin(self.options.name, self._where, argv) if self._audit else None
                status = _REFUSED
                try:
                    await self._see_that_it_forwards(port)
                    listener = await self._connection.forward_local_port("127.0.0.1", 0, "127.0.0.1", port)
                    status = 0
                except BROKEN as error:
                    raise lost(self.options.name, error, f"forwarding port {port}") from None
                finally:
                    if entry:
                        entry.end(status)
                self._listeners[port] = listener
            return listener.get_port()

    async def _see_that_it_forwards(self, port: int) -> None:
        """A listener here opens whatever the server allows; who connects to it would learn no reason."""
        import asyncssh

        from console.cluster.ssh_errors import not_forwarded

        try:
            _, writer = await self._connection.open_connection("127.0.0.1", port)
            writer.close()
        except asyncssh.ChannelOpenError as error:
            if problem := not_forwarded(self.options.name, port, error):
                raise problem from None

    async def close(self) -> None:
        self._connection.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await self._connection.wait_closed()
                return
        self._connection.abort()

    async def _start(self, argv: Sequence[str], env: dict[str, str] | None) -> "RemoteProcess":
        from console.cluster.ssh_errors import BROKEN, lost
        from console.cluster.ssh_process import RemoteProcess

        marker = f"mlxring-{secrets.token_hex(8)}"
        command = framed_command(argv, marker, env)
        entry = self._audit.begin(self.options.name, self._where, argv, env) if self._audit else None
        try:
            process = await self._open(command)
        except BaseException as error:
            if entry:
                entry.end(_REFUSED)
            if isinstance(error, BROKEN):
                raise lost(self.options.name, error, f"starting {argv[0]}") from None
            raise
        return RemoteProcess(self._connection, process, marker, self.options.name, argv[0], entry)

    async def _open(self, command: str) -> "asyncssh.SSHClientProcess[bytes]":
        """A server that stops answering is found by the keepalives, within 20 s.

        One that takes few sessions at a time needs a moment to see that the one before has ended.
        """
        import asyncssh

        from console.cluster.ssh_errors import no_session

        for delay in (*_AGAIN_SECONDS, None):
            try:
                return await self._connection.create_process(command, encoding=None)
            except asyncssh.ChannelOpenError as error:
                if self._connection.is_closed():
                    raise
                if delay is None:
                    raise no_session(self.options.name, error) from None
            await asyncio.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _too_slow(self, argv: Sequence[str], timeout: float) -> HostError:
        return HostError(
            f"{argv[0]} was not done after {timeout:.0f} s and was ended",
            "see whether the host is overloaded or its disk hangs, then run the command again",
            host=self.options.name,
        )
