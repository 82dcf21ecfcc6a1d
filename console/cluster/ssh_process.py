"""One command on a host over SSH: its streams without the shell's noise, and its end. Needs asyncssh."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

import asyncssh

from console.audit import Entry
from console.cluster.host import Completed
from console.cluster.quoting import Unframer
from console.cluster.ssh_errors import BROKEN, lost
from ringcore.spec.errors import HostError

CHUNK = 1 << 16
_KEPT_ERRORS = 1 << 13
_GRACE_SECONDS = 1.0
_KILL_SECONDS = 3.0


class RemoteProcess:
    """See `console.cluster.host.Attached`. `end` must be called, and leaves nothing running there."""

    def __init__(
        self,
        connection: asyncssh.SSHClientConnection,
        process: "asyncssh.SSHClientProcess[bytes]",
        marker: str,
        host: str,
        name: str,
        entry: Entry | None = None,
    ) -> None:
        self.entry = entry
        self._connection = connection
        self._process = process
        self._host = host
        self._name = name
        self._unframer = Unframer(marker)
        self._errors = b""
        self._draining = asyncio.create_task(self._drain_errors())

    async def communicate(self, stdin: bytes) -> Completed:
        """Send ``stdin``, read all output, wait for the end."""
        feeding = asyncio.create_task(self._feed(stdin))
        try:
            # stderr is kept whole here: the drain keeps the tail only, which is what messages show
            stdout = b"".join([data async for data in self.chunks()])
            await feeding
            await self._draining
            await self._wait()
        finally:
            feeding.cancel()
        status = self._process.returncode
        return Completed(
            status if status is not None and status >= 0 else -1,
            stdout.decode(errors="replace"),
            self._errors.decode(errors="replace"),
        )

    async def lines(self) -> AsyncGenerator[bytes, None]:
        rest = b""
        async for data in self.chunks():
            first, *others = data.split(b"\n")
            rest += first
            for part in others:
                yield rest
                rest = part
        if rest:
            yield rest

    async def send(self, data: bytes) -> None:
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except BROKEN as error:
            if self._connection.is_closed():
                raise lost(self._host, error, f"talking to {self._name}") from None
            # the process has ended; reading tells why

    async def close(self) -> None:
        """End of its input; then, after a grace, the end of the process."""
        with suppress(*BROKEN):
            self._process.stdin.write_eof()
        with suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_SECONDS):
                await self._discard()
        await self.end()

    async def end(self) -> None:
        """Kill the process with all of its group, unless it has ended. Never raises for a dead host."""
        try:
            if self._process.exit_status is None and self._process.exit_signal is None:
                await asyncio.shield(self._kill())
        finally:
            self._draining.cancel()
            self._process.close()
            if self.entry is not None:
                status = self._process.returncode
                self.entry.end(status if status is not None and status >= 0 else -1)

    async def _kill(self) -> None:
        if self._connection.is_closed():
            return
        with suppress(TimeoutError, *BROKEN):
            async with asyncio.timeout(_KILL_SECONDS):
                pid = await self._pid()
                if pid is None:
                    return
                # not the channel's own signal request: servers refuse it for root
                command = f"exec /bin/sh -c 'kill -KILL -{pid} 2>/dev/null || kill -KILL {pid}'"
                await self._connection.run(command, check=False)
                await self._process.wait_closed()

    async def _pid(self) -> int | None:
        """A command abandoned at its very start has its pid on the way still."""
        while self._unframer.pid is None and (data := await self._process.stdout.read(CHUNK)):
            self._unframer.feed(data)
        return self._unframer.pid

    async def _feed(self, stdin: bytes) -> None:
        with suppress(*BROKEN):  # a process may end without reading its input
            for at in range(0, len(stdin), CHUNK):
                self._process.stdin.write(stdin[at : at + CHUNK])
                await self._process.stdin.drain()
            self._process.stdin.write_eof()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while data := await self._process.stdout.read(CHUNK):
                if own := self._unframer.feed(data):
                    yield own
        except BROKEN as error:
            raise lost(self._host, error, f"reading from {self._name}") from None
        await self._wait()
        if self._unframer.pid is None:
            noise = self._unframer.noise or self._errors.decode(errors="replace").strip()[-200:]
            saying = f", saying: {noise}" if noise else ""
            raise HostError(
                f"the login shell ended before {self._name} could start{saying}",
                "see that this account may run commands and that its shell's start-up files do not exit",
                host=self._host,
            )

    async def _wait(self) -> None:
        """The exit status is there afterwards. Raises `HostError` when the connection went instead."""
        await self._process.wait_closed()
        if self._process.returncode is None:
            raise lost(self._host, None, f"running {self._name}")

    async def _discard(self) -> None:
        with suppress(*BROKEN):
            while await self._process.stdout.read(CHUNK):
                pass
            await self._process.wait_closed()

    async def _drain_errors(self) -> None:
        with suppress(*BROKEN):
            while data := await self._process.stderr.read(CHUNK):
                self._errors = (self._errors + data)[-_KEPT_ERRORS:]
