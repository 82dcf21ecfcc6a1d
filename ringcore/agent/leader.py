"""The leader's agent: meets the members' agents, does what `ring.RingControl` decides, runs the gateway.

Knows connections and processes; which step comes next, and which cause is the root, is `ring`'s.
"""

import asyncio
from collections.abc import Sequence

from ringcore import __version__
from ringcore.agent import peer_link
from ringcore.agent.blocks_leader import BlocksLeader
from ringcore.agent.gateway import Gateway
from ringcore.agent.peer_link import PeerLink, Untrusted
from ringcore.agent.peer_messages import (
    BlocksHere,
    EndRank,
    FromMember,
    Gone,
    JoinRank,
    OpenBlocks,
    Present,
    RankFailed,
    RankHolds,
    RankSaid,
    StartRank,
    WakeRank,
    from_member,
)
from ringcore.agent.ring import EPOCH, End, JoinRanks, Order, Phase, RingControl, StartRanks
from ringcore.agent.role import Host
from ringcore.agent.supervisor import Supervisor
from ringcore.spec.block_file import PREFIX_FOLDER
from ringcore.spec.control import MAX_LINE, Bring, Fingerprints, Unwanted
from ringcore.spec.errors import Failure, RingError
from ringcore.spec.events import (
    Level,
    LogLine,
    MemoryPressure,
    MemoryUsed,
    RankChanged,
    RingChanged,
    StepCount,
)
from ringcore.spec.root import root_of

_FAREWELL_SECONDS = 5.0  # for members to end their ranks


class Leader:
    """See `ringcore.agent.role.Role`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._deployment = host.deployment
        self._journal = host.journal
        self._loop = asyncio.get_running_loop()
        self._ring = RingControl(host.deployment.members, self._loop.time())
        self._links: dict[int, PeerLink[FromMember]] = {}
        self._held: dict[int, Fingerprints] = {}  # by rank
        self._gone = asyncio.Event()
        self._moved = asyncio.Event()
        self._end: End | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._gateway = Gateway(
            host.folder, host.deployment, host.journal, self._gateway_changed, self._failed
        )
        self._supervisor = Supervisor(
            host.folder,
            host.deployment,
            host.journal,
            self._said,
            self._failed,
            self._for_agents,
            self._wake_all,
            self._changed,
        )

        self._blocks = BlocksLeader(
            host.folder / PREFIX_FOLDER,
            host.deployment,
            self._open_for_blocks,
            self._supervisor.tell_blocks,
            self._say,
        )

    # life ----------------------------------------------------------------------------------------
    async def open(self) -> None:
        if len(self._deployment.members) == 1:
            return
        address, port = self._deployment.leader.address, self._deployment.control_port
        try:
            self._server = await asyncio.start_server(self._meet, address, port, limit=MAX_LINE)
        except OSError as error:
            raise RingError(
                f"the agent cannot listen on {address}:{port}: {error.strerror or error}",
                "end what uses that port, or set another ring.port in the profile",
                host=self._deployment.me.host,
            ) from None

    async def run(self) -> Failure | None:
        self._change("waiting")
        for line in self._deployment.plan.explanation:
            self._say("INFO", f"plan: {line}")
        self._obey(self._ring.begin(self._loop.time()))
        while self._end is None:
            self._moved.clear()
            wait = self._ring.next_tick - self._loop.time()
            try:
                async with asyncio.timeout(wait if wait < float("inf") else None):
                    await self._moved.wait()
            except TimeoutError:
                self._obey(self._ring.tick(self._loop.time()))
        await self._finish(self._end.failure)
        return self._end.failure

    def forget(self) -> None:
        self._spawn(self._forget())

    async def _forget(self) -> None:
        await self._blocks.forget()  # or what is on its way would come after the files have gone
        self._supervisor.forget()

    def stop(self) -> None:
        self._obey(self._ring.stop())

    async def _finish(self, failure: Failure | None) -> None:
        if failure is not None:
            self._change("failed", failure=failure)
        for link in self._links.values():
            link.send(EndRank(failure=failure))
        await self._blocks.close()
        await asyncio.gather(
            self._gateway.end(), self._supervisor.end(failure), self._farewell(), return_exceptions=True
        )
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(link.close() for link in self._links.values()))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if failure is None:
            self._change("stopped")

    async def _farewell(self) -> None:
        """Until every member's rank has ended, or its agent is not heard of any more."""
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                while self._links:
                    self._gone.clear()
                    await self._gone.wait()
        except TimeoutError:
            names = ", ".join(self._deployment.members[rank].host for rank in self._links)
            self._say("WARNING", f"the agents on {names} did not confirm that their ranks have ended")

    # orders --------------------------------------------------------------------------------------
    def _obey(self, orders: Sequence[Order]) -> None:
        for order in orders:
            match order:
                case Phase():
                    self._change(order.phase)
                case StartRanks():
                    self._send_all(StartRank(epoch=EPOCH))
                    self._spawn(self._supervisor.start(EPOCH))
                    self._spawn(self._gateway.run(self._changed))
                case JoinRanks():
                    root = root_of(self._deployment.plan, self._held)
                    self._send_all(JoinRank(root=root))
                    self._supervisor.join(root)
                    self._blocks.join(root)
                case End():
                    self._end = order
        self._moved.set()

    def _change(self, phase: str, failure: Failure | None = None) -> None:
        event = RingChanged(
            phase=phase,  # type: ignore[arg-type]
            epoch=EPOCH,
            plan=self._deployment.plan if phase == "waiting" else None,
            api_url=self._gateway.url if phase == "serving" else "",
            failure=failure,
        )
        self._journal.append(event)

    def _send_all(self, message: StartRank | JoinRank | WakeRank) -> None:
        for link in self._links.values():
            link.send(message)

    def _open_for_blocks(self, rank: int) -> None:
        if rank in self._links:
            self._links[rank].send(OpenBlocks())

    def _spawn(self, work: "asyncio.Future[None] | object") -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # what happens here ---------------------------------------------------------------------------
    def _said(self, event: RankChanged | StepCount | MemoryUsed | MemoryPressure) -> None:
        if isinstance(event, StepCount | MemoryUsed):
            self._gateway.tell(event)
        if isinstance(event, MemoryUsed):
            return
        if isinstance(event, MemoryPressure):
            self._supervisor.press(event)
            return
        self._obey(self._ring.rank_said(event, self._loop.time()))

    def _for_agents(self, message: Fingerprints | Bring | Unwanted) -> None:
        if isinstance(message, Fingerprints):
            self._held[0] = message
        elif isinstance(message, Unwanted):
            self._blocks.drop(message.id)
        else:
            self._blocks.bring(message)

    def _failed(self, failure: Failure) -> None:
        self._ring.failed(failure, self._loop.time())
        self._moved.set()

    def _wake_all(self) -> None:
        self._send_all(WakeRank())

    def _gateway_changed(self) -> None:
        now = self._loop.time()
        self._ring.requests(self._gateway.unfinished, now)
        if self._gateway.url:
            self._obey(self._ring.gateway_ready(now))
        self._moved.set()

    def _changed(self) -> None:
        children = (self._supervisor.child, self._gateway.child)
        self._host.children([child for child in children if child is not None])

    def _say(self, level: Level, text: str) -> None:
        self._journal.append(LogLine(source="agent", level=level, text=text))

    # members -------------------------------------------------------------------------------------
    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        try:
            link = await peer_link.accept(reader, writer, self._host.secret, from_member)
            present = self._present(await link.receive())
            member = self._deployment.members[present.rank]
        except (Untrusted, OSError) as error:
            self._say("WARNING", f"a connection from {peer[0] if peer else 'nowhere'} was refused: {error}")
            writer.close()
            return
        if present.blocks:
            if not self._blocks.meet(member.rank, link):
                await link.close()
            return
        self._links[member.rank] = link
        self._say("INFO", f"the agent of rank {member.rank} on {member.host} is here")
        self._obey(self._ring.present(member.rank, self._loop.time()))
        try:
            await self._listen(link, member.rank)
        except ConnectionError as error:
            if not self._ring.ended:
                cause = f"its agent is gone: {error}"
                remedy = f"see whether {member.host} is on and reachable, then start the ring again"
                self._failed(RingError(cause, remedy, host=member.host, rank=member.rank).failure)
        finally:
            self._links.pop(member.rank, None)
            self._gone.set()
            await link.close()

    def _present(self, message: FromMember) -> Present:
        """Raises `Untrusted` when the other side is not a member of this very run that is missing."""
        if not isinstance(message, Present):
            raise Untrusted("it did not say who it is")
        if message.run_id != self._deployment.run_id or message.digest != self._deployment.plan.digest:
            raise Untrusted(f"rank {message.rank} was deployed for another run; deploy again")
        if message.version != __version__:
            raise Untrusted(f"rank {message.rank} runs version {message.version}, this is {__version__}")
        if (message.rank in self._links) != message.blocks or not 0 < message.rank < len(
            self._deployment.members
        ):
            raise Untrusted(f"rank {message.rank} is here already, or is none of this ring")
        return message

    async def _listen(self, link: PeerLink[FromMember], rank: int) -> None:
        while True:
            message = await link.receive()
            match message:
                case RankSaid():
                    self._said(message.event)
                case RankHolds():
                    self._held[rank] = message.fingerprints
                case BlocksHere():
                    self._blocks.heard(rank, message)
                case RankFailed():
                    self._failed(message.failure)
                case Gone():
                    return
                case _:
                    pass
