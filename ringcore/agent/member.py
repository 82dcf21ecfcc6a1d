"""The agent of a rank that is not the leader: it reaches the leader's agent and does what that says."""

import asyncio
from contextlib import suppress

from ringcore import __version__
from ringcore.agent import peer_link
from ringcore.agent.blocks_member import BlocksMember
from ringcore.agent.journal import Journal
from ringcore.agent.peer_link import PeerLink, Untrusted
from ringcore.agent.peer_messages import (
    BlocksHere,
    EndRank,
    FromLeader,
    Gone,
    JoinRank,
    OpenBlocks,
    Present,
    RankFailed,
    RankHolds,
    RankSaid,
    StartRank,
    WakeRank,
    from_leader,
)
from ringcore.agent.ring import PRESENT_SECONDS
from ringcore.agent.role import Host
from ringcore.agent.supervisor import Supervisor
from ringcore.spec.block_file import PREFIX_FOLDER
from ringcore.spec.control import MAX_LINE, Bring, Fingerprints, Unwanted
from ringcore.spec.errors import Failure, RingError
from ringcore.spec.events import LogLine, MemoryPressure, MemoryUsed, RankChanged, StepCount

_RETRY_SECONDS = 0.25


class Member:
    """See `ringcore.agent.role.Role`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._deployment = host.deployment
        self._journal: Journal = host.journal
        self._link: PeerLink[FromLeader] | None = None
        self._stop = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._own: Failure | None = None  # why this host's rank ended
        self._supervisor = Supervisor(
            host.folder,
            host.deployment,
            host.journal,
            self._said,
            self._failed,
            self._for_leader,
            self._never_wakes,
            self._changed,
        )

        self._blocks = BlocksMember(
            host.folder / PREFIX_FOLDER, host.deployment, self._tell, self._connect_for_blocks
        )

    async def open(self) -> None:
        """Nothing to open: members connect."""

    def forget(self) -> None:
        """What all ranks keep is the leader's choice."""

    def stop(self) -> None:
        self._stop.set()

    async def run(self) -> Failure | None:
        obeying = asyncio.create_task(self._obey(), name="the leader's orders")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({obeying, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if obeying.done():
            failure = obeying.result()
        else:
            obeying.cancel()
            failure = None
            if self._link is not None:
                self._link.send(
                    RankFailed(failure=self._failure("the operator ended the ring on this host alone"))
                )
        await self._blocks.close()
        await self._supervisor.end(failure)
        if self._link is not None:
            self._link.send(Gone())
            await self._link.close()
        return failure

    async def _obey(self) -> Failure | None:
        """Until the ring ends: None when that was wanted."""
        leader = self._deployment.leader
        try:
            async with asyncio.timeout(PRESENT_SECONDS):
                self._link = await self._reach()
        except TimeoutError:
            cause = f"the leader's agent on {leader.host} ({leader.address}:{self._deployment.control_port}) "
            return self._failure(
                f"{cause}was not reached within {PRESENT_SECONDS:.0f} s",
                "check that this host reaches that address (firewall, wrong interface, hosts.address)",
            )
        except Untrusted as error:
            return self._failure(f"{leader.address}:{self._deployment.control_port}: {error}", "deploy again")
        self._link.send(self._present())
        try:
            while True:
                message = await self._link.receive()
                if isinstance(message, EndRank):
                    return message.failure
                self._do(message)
        except ConnectionError as error:
            return self._own or self._failure(
                f"the connection to the leader's agent on {leader.host} broke: {error}",
                f"look at {leader.host} first; then start the ring again",
            )

    def _do(self, message: FromLeader) -> None:
        match message:
            case StartRank():
                self._starting = asyncio.create_task(
                    self._supervisor.start(message.epoch), name="start the rank"
                )
            case JoinRank():
                self._supervisor.join(message.root)
                self._blocks.join(message.root)
            case OpenBlocks():
                self._blocks.open()
            case WakeRank():
                self._supervisor.wake()
            case _:
                pass

    def _present(self, *, blocks: bool = False) -> Present:
        return Present(
            rank=self._deployment.rank,
            run_id=self._deployment.run_id,
            digest=self._deployment.plan.digest,
            version=__version__,
            blocks=blocks,
        )

    async def _connect_for_blocks(self) -> PeerLink[FromLeader]:
        """Raises ``OSError`` or `Untrusted`."""
        async with asyncio.timeout(PRESENT_SECONDS):
            link = await self._reach()
        link.send(self._present(blocks=True))
        return link

    async def _reach(self) -> PeerLink[FromLeader]:
        """Tries until it is cancelled. Raises `Untrusted`."""
        leader = self._deployment.leader
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    leader.address, self._deployment.control_port, limit=MAX_LINE
                )
                try:
                    return await peer_link.greet(reader, writer, self._host.secret, from_leader)
                except BaseException:
                    writer.close()
                    raise
            await asyncio.sleep(_RETRY_SECONDS)

    def _said(self, event: RankChanged | StepCount | MemoryUsed | MemoryPressure) -> None:
        if self._link is not None:
            self._link.send(RankSaid(event=event))

    def _for_leader(self, message: Fingerprints | Bring | Unwanted) -> None:
        if isinstance(message, Fingerprints):
            self._tell(RankHolds(fingerprints=message))

    def _tell(self, message: RankHolds | BlocksHere) -> None:
        if self._link is not None:
            self._link.send(message)

    def _failed(self, failure: Failure) -> None:
        # The leader may know a cause behind this one: what is journaled waits for its verdict.
        self._own = failure
        if self._link is not None:
            self._link.send(RankFailed(failure=failure))

    def _never_wakes(self) -> None:
        text = "this rank asked to wake the others, which only rank 0 may"
        self._journal.append(LogLine(source="agent", level="WARNING", text=text))

    def _changed(self) -> None:
        child = self._supervisor.child
        self._host.children([child] if child else [])

    def _failure(self, cause: str, remedy: str = "") -> Failure:
        return RingError(cause, remedy, host=self._deployment.me.host, rank=self._deployment.rank).failure
