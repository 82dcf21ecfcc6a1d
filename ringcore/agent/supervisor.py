"""The rank of this host, as its agent sees it: started, watched, ended, and why it ended.

Knows one process. What the ring as a whole makes of it is decided elsewhere.
"""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
from msgspec import structs

from ringcore.agent.card import card_variables
from ringcore.agent.child import Child
from ringcore.agent.journal import Journal
from ringcore.agent.threads import thread_variables, usable_cores
from ringcore.spec.control import (
    BlocksElsewhere,
    Bring,
    Brought,
    ChildToAgent,
    Fatal,
    Fingerprints,
    ForgetPrefixes,
    Join,
    Pressure,
    Say,
    Unwanted,
    Wake,
    WakeAll,
)
from ringcore.spec.deployment import Deployment
from ringcore.spec.errors import Failure, RingError
from ringcore.spec.events import Level, LogLine, MemoryPressure, MemoryUsed, RankChanged, StepCount

WATCH_SECONDS = 1.0
QUIT_SECONDS = 3.0  # a rank ends itself 1 s after Quit, whatever it waits for
Report = Callable[[RankChanged | StepCount | MemoryUsed | MemoryPressure], None]


class Supervisor:
    """``said``: what the rank tells of its phase, steps and memory. ``failed``: it ended, or must be ended,
    and why. ``for_agents``: what it tells of its weights, and which blocks it wants from other hosts.
    ``wake_all``: rank 0 puts a step on the parked ring."""

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        journal: Journal,
        said: Report,
        failed: Callable[[Failure], None],
        for_agents: Callable[[Fingerprints | Bring | Unwanted], None],
        wake_all: Callable[[], None],
        children_changed: Callable[[], None],
    ) -> None:
        self._folder = folder
        self._deployment = deployment
        self._journal = journal
        self._said = said
        self._failed = failed
        self._for_agents = for_agents
        self._wake_all = wake_all
        self._children_changed = children_changed
        self._child: Child | None = None
        self._fatal: Failure | None = None
        self._ending = False
        self._watching: asyncio.Task[None] | None = None

    @property
    def child(self) -> Child | None:
        return self._child

    async def start(self, epoch: int) -> None:
        """Start the rank. A failure to do so is reported like any other end."""
        rank = self._deployment.rank
        if self._ending:
            return
        arguments = ["--run", ".", "--rank", str(rank), "--epoch", str(epoch)]
        log = self._folder / f"rank-{rank}.log"
        variables = {
            **thread_variables(self._deployment, os.environ, usable_cores()),
            **card_variables(self._deployment),
        }
        try:
            self._child = await Child.start(
                "rank", arguments, self._folder, log, self._hear, self._print, variables
            )
        except OSError as error:
            cause = f"the rank's process cannot be started: {error.strerror or error}"
            self._failed(self._failure(cause, "see that this host has memory and processes to spare"))
            return
        self._children_changed()
        self._watching = asyncio.create_task(self._watch(self._child), name="watch the rank")

    def join(self, root: str) -> None:
        if self._child is not None:
            self._child.tell(Join(root=root))

    def wake(self) -> None:
        if self._child is not None:
            self._child.tell(Wake())

    def forget(self) -> None:
        if self._child is not None:
            self._child.tell(ForgetPrefixes())

    def press(self, event: MemoryPressure) -> None:
        """Rank 0 hears how a rank stands with its memory."""
        if self._child is not None:
            self._child.tell(Pressure(event=event))

    def tell_blocks(self, message: BlocksElsewhere | Brought) -> None:
        """Rank 0 hears of blocks on other hosts."""
        if self._child is not None:
            self._child.tell(message)

    async def end(self, failure: Failure | None) -> None:
        """End the rank: in order when ``failure`` is None, at once otherwise. Journals how it ended.

        ``failure`` is the ring's; when this rank is its place, this rank has failed, else it was stopped.
        """
        self._ending = True
        rank = self._deployment.rank
        child = self._child
        if child is not None:
            await child.end(0 if failure else QUIT_SECONDS)
        if self._watching is not None:
            with suppress(asyncio.CancelledError):
                await self._watching
        if failure is not None and failure.rank == rank:
            self._journal.append(RankChanged(rank=rank, phase="failed", failure=failure))
            return
        if self._fatal is not None:
            self._print("ERROR", self._fatal.cause)
        if child is not None:
            self._journal.append(RankChanged(rank=rank, phase="stopped"))

    # what the rank does --------------------------------------------------------------------------
    def _hear(self, message: ChildToAgent) -> None:
        match message:
            case RankChanged() | StepCount() | MemoryUsed() | MemoryPressure():
                self._journal.append(message)
                self._said(message)
            case Say():
                self._print(message.level, message.text)
            case Fatal():
                self._fatal = structs.replace(
                    message.failure, host=self._deployment.me.host, rank=self._deployment.rank
                )
            case Fingerprints() | Bring() | Unwanted():
                self._for_agents(message)
            case WakeAll():
                self._wake_all()
            case _:
                self._print(
                    "WARNING", f"the rank sent a {type(message).__name__}, which only a gateway sends"
                )

    def _print(self, level: Level, text: str) -> None:
        self._journal.append(LogLine(source="rank", level=level, text=text, rank=self._deployment.rank))

    async def _watch(self, child: Child) -> None:
        """Until the rank has ended; tells why, unless it was told to."""
        process = psutil.Process(child.pid) if psutil.pid_exists(child.pid) else None
        stopped = 0
        while not child.ended.done():
            await asyncio.wait({child.ended}, timeout=WATCH_SECONDS)
            # Its sockets stay open and its neighbours wait: nobody else can see that.
            stopped = stopped + 1 if _is_stopped(process) else 0
            if stopped == 2 and not self._ending:
                self._failed(
                    self._failure(
                        f"the rank's process (pid {child.pid}) is stopped: it got SIGSTOP or SIGTSTP",
                        "find out who stops processes on this host; start the ring again",
                    )
                )
        status = child.ended.result()
        if not self._ending:
            self._failed(self._fatal or self._exit_failure(status))

    def _exit_failure(self, status: int) -> Failure:
        rank = self._deployment.rank
        if status < 0:
            name = signal.Signals(-status).name if -status in set(signal.Signals) else "unknown"
            remedy = f"if nobody did that by hand, read rank-{rank}.log in the run folder"
            if status == -signal.SIGKILL:
                remedy = (
                    "if nobody did that by hand, the system was short of memory: lower hosts.memory, "
                    "ring.context or ring.sequences"
                )
            return self._failure(f"the rank's process was ended by signal {-status} ({name})", remedy)
        return self._failure(
            f"the rank's process ended with status {status} and no last word",
            f"read rank-{rank}.log in the run folder",
        )

    def _failure(self, cause: str, remedy: str) -> Failure:
        return RingError(cause, remedy, host=self._deployment.me.host, rank=self._deployment.rank).failure


def _is_stopped(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.status() in (psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP)
    except psutil.Error:
        return False
