"""The channel to the agent: what the gateway reports, and the two ways in which the agent ends it.

Owns the file descriptor and the messages of `ringcore.spec.control`; knows nothing of requests.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable

import msgspec

from ringcore.spec.control import MAX_LINE, ChildToAgent, Quit, Say, agent_to_child, line
from ringcore.spec.deployment import ENGINE_SOCKET
from ringcore.spec.events import Level, MemoryUsed, StepCount

Report = Callable[[ChildToAgent], None]


class Control:
    """``quit`` is set when the agent asks for an orderly end; ``on_rank`` gets what it tells of the ranks. A
    lost agent ends the process at once."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.quit = asyncio.Event()
        self.on_rank: Callable[[StepCount | MemoryUsed], None] = lambda _event: None
        self._writer = writer
        self._task = asyncio.create_task(self._read(reader), name="control")

    @classmethod
    async def open(cls, descriptor: int) -> "Control":
        """Take over an inherited Unix socket."""
        reader, writer = await asyncio.open_unix_connection(
            sock=socket.socket(fileno=descriptor), limit=MAX_LINE
        )
        return cls(reader, writer)

    def report(self, message: ChildToAgent) -> None:
        """Never waits: the messages are few and small."""
        if not self._writer.is_closing():
            self._writer.write(line(message))

    def say(self, level: Level, text: str) -> None:
        self.report(Say(level=level, text=text))

    async def close(self) -> None:
        """Send what is left (2 s at most) and leave."""
        self._task.cancel()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.drain(), 2)
        self._writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 2)

    async def _read(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, ValueError):  # a line past the limit is no agent of ours
            while text := await reader.readline():
                try:
                    message = agent_to_child.decode(text)
                except msgspec.DecodeError as error:
                    self.say("WARNING", f"a message from the agent was not understood: {error}")
                    continue
                if isinstance(message, Quit):
                    self.quit.set()
                elif isinstance(message, StepCount | MemoryUsed):
                    self.on_rank(message)
        # No agent means that nobody can stop or watch this process: leave nothing behind.
        with contextlib.suppress(OSError):
            os.unlink(ENGINE_SOCKET)  # noqa: PTH108
        os._exit(1)
