"""Processes of the comparison: started on chosen cores, ended by the end of stdin, killed if they hang."""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

# one compute thread for every process, whoever's it is
THREADS = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_MOST_LINE = 256 << 20
_TAIL = 2000


class ChildFailed(Exception):
    """A process of the comparison ended, or said what is wrong. The message is for people."""


class Child:
    """``python -m MODULE ARGUMENTS``; its errors go to ``log``. Lines go both ways."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    @classmethod
    async def start(
        cls,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        log: Path,
        cores: Sequence[int],
        environment: Mapping[str, str],
    ) -> "Child":
        """``environment`` is all that it gets. Raises ``OSError``."""
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", module, *arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=errors,
                env=dict(environment),
                start_new_session=True,  # ctrl+c is this program's to answer, and the end of stdin theirs
                preexec_fn=_on(cores), limit=_MOST_LINE,
            )  # fmt: skip
        return cls(name, process, log)

    async def line(self, seconds: float) -> bytes:
        """The next line it says. Raises `ChildFailed` when it ends first, or is silent for ``seconds``."""
        assert self._process.stdout is not None
        try:
            said = await asyncio.wait_for(self._process.stdout.readline(), seconds)
        except TimeoutError:
            raise ChildFailed(f"{self.name} said nothing for {seconds:g} s") from None
        if not said.endswith(b"\n"):
            raise ChildFailed(f"{self.name} ended; its last words:\n{self.last_words()}")
        return said

    async def tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            raise ChildFailed(f"{self.name} ended; its last words:\n{self.last_words()}") from None

    async def success(self, seconds: float) -> None:
        """Until it has ended by itself. Raises `ChildFailed` when it failed, or takes longer."""
        try:
            code = await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            raise ChildFailed(f"{self.name} took longer than {seconds:g} s") from None
        if code != 0:
            raise ChildFailed(f"{self.name} ended with {code}; its last words:\n{self.last_words()}")

    async def end(self, grace: float) -> None:
        """Close its stdin; SIGKILL when it still runs after ``grace`` seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), grace)
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def last_words(self) -> str:
        return self._log.read_bytes()[-_TAIL:].decode(errors="replace")


def _on(cores: Sequence[int]) -> Callable[[], None] | None:
    """What a new process does before it runs anything: its threads inherit the cores."""
    if sys.platform != "linux" or not cores:
        return None
    return lambda: os.sched_setaffinity(0, cores)
