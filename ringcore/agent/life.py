"""An agent's life: startup, the ring from its start to its end, shutdown. Owns the order of these.

The agent lives exactly as long as the ring does on this host; the journal stays and is read without it.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence

from ringcore import __version__
from ringcore.agent.checks import check_network
from ringcore.agent.child import Child
from ringcore.agent.consoles import Consoles
from ringcore.agent.journal import Journal
from ringcore.agent.leader import Leader
from ringcore.agent.member import Member
from ringcore.agent.role import Host, Role
from ringcore.agent.rundir import ProcessId, RunDir
from ringcore.spec.deployment import Deployment
from ringcore.spec.errors import Failure, RingError
from ringcore.spec.events import LogLine, RankChanged

FLUSH_SECONDS = 0.05


async def live(run: RunDir, running: Callable[[], None]) -> Failure | None:
    """Returns when the ring has ended here: why, None when that was wanted. ``running`` is called once, when
    everything is had that the start can fail of. Raises `MlxringError` before that, or ``OSError`` from the
    run folder."""
    deployment = run.deployment()
    lock = run.lock()
    if lock is None:
        raise RingError(
            f"an agent of the ring {deployment.ring} runs here already",
            "attach to it, or end it with `mlxring down`",
            host=deployment.me.host,
        )
    try:
        return await _Agent(run, deployment).live(running)
    finally:
        os.close(lock)


class _Agent:
    def __init__(self, run: RunDir, deployment: Deployment) -> None:
        deployment.plan.check()
        self._run = run
        self._deployment = deployment
        self._secret = run.secret()
        self._journal = Journal(run.path, deployment)
        self._flushing: asyncio.TimerHandle | None = None
        self._stopping = False
        self._consoles = Consoles(run, deployment, self._journal, self._stop, self._forget)
        self._role: Role

    async def live(self, running: Callable[[], None]) -> Failure | None:
        loop = asyncio.get_running_loop()
        self._journal.appended = self._flush_soon
        self._journal.flushed = self._consoles.flushed
        try:
            check_network(self._deployment)
            host = Host(self._run.path, self._deployment, self._secret, self._journal, self._children)
            self._role = Leader(host) if self._deployment.is_leader else Member(host)
            await self._role.open()
            await self._consoles.open()
            self._children([])
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self._stop)
            self._say(
                f"agent {__version__} of rank {self._deployment.rank} on {self._deployment.me.host}, "
                f"pid {os.getpid()}, python {sys.version.split()[0]}"
            )
            running()
            return await self._role.run()
        except Exception as error:
            # The journal is where an operator looks; the raise tells the process.
            self._fail(error)
            raise
        finally:
            await self._shut_down()

    async def _shut_down(self) -> None:
        self._journal.flush()
        await self._consoles.close()
        if self._flushing is not None:
            self._flushing.cancel()
        self._journal.close()
        self._run.remove_traces()

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._say("told to end the ring")
            self._role.stop()

    def _forget(self) -> None:
        self._say("told to keep nothing of earlier sequences")
        self._role.forget()

    def _children(self, children: Sequence[Child]) -> None:
        own = ProcessId.of(os.getpid(), "agent")
        ids = [own, *(child.id for child in children)]
        self._run.write_processes([each for each in ids if each is not None])

    def _say(self, text: str) -> None:
        self._journal.append(LogLine(source="agent", level="INFO", text=text))

    def _fail(self, error: Exception) -> None:
        member = self._deployment.me
        cause = f"the agent failed: {type(error).__name__}: {error}"
        failure = RingError(
            cause, "read agent.log in the run folder", host=member.host, rank=member.rank
        ).failure
        self._journal.append(RankChanged(rank=member.rank, phase="failed", failure=failure))

    def _flush_soon(self) -> None:
        """In batches: a rank that talks much must not cost a write for each line."""
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._flushing = None
        self._journal.flush()
        if self._journal.unwritten:
            self._flush_soon()
