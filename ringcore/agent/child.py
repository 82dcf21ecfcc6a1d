"""One child process of the agent: started, heard, told, ended. Knows nothing of what it is for.

A child and its agent share a Unix socket pair. The end of the agent's side is the child's order to end,
however the agent ended, so no child outlives its agent.
"""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ringcore.agent.output import LogFile, Output
from ringcore.agent.rundir import ProcessId
from ringcore.spec.control import MAX_LINE, AgentToChild, ChildToAgent, Quit, Say, child_to_agent, line
from ringcore.spec.events import Level

Hear = Callable[[ChildToAgent], None]
Print = Callable[[Level, str], None]
_LAST_WORDS_SECONDS = 1.0
_UNREAD_BYTES = 1 << 20


class Child:
    """``ended`` becomes the exit status (negative: the signal) once all that it said was heard."""

    def __init__(
        self,
        role: str,
        process: asyncio.subprocess.Process,
        ours: socket.socket,
        printed: int,
        file: LogFile,
        say: Print,
    ) -> None:
        self.role = role
        self.pid = process.pid
        self.id = ProcessId.of(process.pid, role)
        self.ended: asyncio.Task[int]
        self._process = process
        self._socket = ours
        self._file = file
        self._say = say
        self._writer: asyncio.StreamWriter | None = None
        self._output = Output(printed, file, say)

    @classmethod
    async def start(
        cls,
        role: str,
        arguments: Sequence[str],
        folder: Path,
        log: Path,
        hear: Hear,
        say: Print,
        environment: Mapping[str, str] | None = None,
    ) -> "Child":
        """``python -m ringcore ROLE ARGUMENTS --control-fd N`` in ``folder``, with ``environment`` beside
        the agent's own. Raises ``OSError``."""
        ours, theirs = socket.socketpair()
        printed, prints = os.pipe()
        with theirs:
            try:
                process = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "ringcore", role, *arguments, "--control-fd", str(theirs.fileno()),
                    cwd=folder,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=prints,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    env={
                        **os.environ, **(environment or {}),
                        "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1",
                    },
                )  # fmt: skip
            except BaseException:
                ours.close()
                os.close(printed)
                raise
            finally:
                os.close(prints)
        child = cls(role, process, ours, printed, LogFile(log), say)
        child.ended = asyncio.create_task(child._live(hear), name=f"{role} process")
        return child

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def deaf(self) -> bool:
        """It has not read for long what it was told."""
        return self._writer is not None and self._writer.transport.get_write_buffer_size() > _UNREAD_BYTES

    def tell(self, message: AgentToChild) -> None:
        """Never waits: the messages are few and small. Nothing happens when the child has ended."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(line(message))

    async def end(self, grace: float) -> int:
        """`Quit`, then SIGKILL after ``grace`` seconds (at once when 0). Its exit status."""
        if grace > 0:
            self.tell(Quit())
            with suppress(TimeoutError):
                return await asyncio.wait_for(asyncio.shield(self.ended), grace)
        self.kill()
        return await self.ended

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)

    async def _live(self, hear: Hear) -> int:
        reader, self._writer = await asyncio.open_unix_connection(sock=self._socket, limit=MAX_LINE)
        hearing = asyncio.create_task(self._hear(reader, hear), name=f"{self.role} control")
        try:
            status = await self._process.wait()
            # What it said before it ended is in the pipes still; a grandchild may hold them open.
            done, _ = await asyncio.wait({hearing, self._output.finished}, timeout=_LAST_WORDS_SECONDS)
            for task in done:
                task.result()  # a defect of ours must not pass unseen
            return status
        finally:
            self.kill()
            for task in (hearing, self._output.finished):
                task.cancel()
            self._writer.close()
            self._file.close()

    async def _hear(self, reader: asyncio.StreamReader, hear: Hear) -> None:
        with suppress(OSError):
            while True:
                try:
                    text = await reader.readline()
                    if not text:
                        return
                    message = child_to_agent.decode(text)
                    if isinstance(message, Say):
                        self._file.write(f"{message.level} {message.text}")
                    hear(message)
                except (ValueError, msgspec.MsgspecError) as error:
                    self._say("WARNING", f"the {self.role} said something that is not understood: {error}")
