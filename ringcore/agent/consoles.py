"""``agent.sock``: consoles that attach, each at its own pace, and their order to stop the ring.

A session reads the journal from its files, so a slow console holds nothing up and costs no memory.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress

from ringcore.agent.journal import Journal
from ringcore.agent.replay import Reader
from ringcore.agent.rundir import RunDir
from ringcore.agent.welcome import first_message, welcome
from ringcore.spec.control import (
    MAX_LINE,
    Attach,
    ConsoleToAgent,
    ForgetPrefixes,
    StopRing,
    console_to_agent,
    line,
)
from ringcore.spec.deployment import AGENT_SOCKET, Deployment

_FIRST_LINE_SECONDS = 10.0
_DRAIN_SECONDS = 2.0


class Consoles:
    """``stop`` is called when a console asks for the end of the ring, ``forget`` when it asks that nothing
    more be kept of earlier sequences."""

    def __init__(
        self,
        run: RunDir,
        deployment: Deployment,
        journal: Journal,
        stop: Callable[[], None],
        forget: Callable[[], None],
    ) -> None:
        self._run = run
        self._deployment = deployment
        self._journal = journal
        self._stop = stop
        self._forget = forget
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        self._waiting: set[asyncio.Event] = set()
        self._closing = False

    async def open(self) -> None:
        """Listen, in the current folder: a Unix socket's path may have 104 bytes. Raises ``OSError``."""
        (self._run / AGENT_SOCKET).unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, AGENT_SOCKET, limit=MAX_LINE)
        finally:
            os.umask(before)

    def flushed(self) -> None:
        """There is more in the journal's files."""
        for event in self._waiting:
            event.set()

    async def close(self) -> None:
        """Let every session send what is there (2 s at most), then end it."""
        self._closing = True
        if self._server is not None:
            self._server.close()
        self.flushed()
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=_DRAIN_SECONDS)
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None
        self._sessions.add(session)
        try:
            with suppress(OSError, ValueError, TimeoutError):  # a console that left, or none of ours
                async with asyncio.timeout(_FIRST_LINE_SECONDS):
                    attach = first_message(await reader.readline())
                await self._talk(attach, reader, writer)
        finally:
            self._sessions.discard(session)
            writer.close()

    async def _talk(self, attach: Attach, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._journal.flush()
        hello = welcome(self._deployment, running=True, last_seq=self._journal.seq)
        writer.write(line(hello))
        after = attach.after if attach.run_id == self._deployment.run_id else 0
        sending = asyncio.create_task(self._send(Reader(self._run.path, after), writer))
        listening = asyncio.create_task(self._listen(reader))
        try:
            await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, listening):
                task.cancel()
            results = await asyncio.gather(sending, listening, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, OSError | ValueError):
                raise result

    async def _send(self, journal: Reader, writer: asyncio.StreamWriter) -> None:
        more = asyncio.Event()
        self._waiting.add(more)
        try:
            while True:
                more.clear()
                data = journal.read()
                if data:
                    writer.write(data)
                    await writer.drain()
                elif self._closing:
                    return
                else:
                    await more.wait()
        finally:
            self._waiting.discard(more)
            journal.close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while text := await reader.readline():
            message: ConsoleToAgent = console_to_agent.decode(text)
            match message:
                case StopRing():
                    self._stop()
                case ForgetPrefixes():
                    self._forget()
                case Attach():
                    pass  # once is enough
