"""The leader's part in moving blocks of the prefix cache: what lies where, and bringing what rank 0 asks for.

Everything passes through this host, one piece at a time: from the host that has a file to all that lack it.
One order after the other, each with an end to its time. Knows no links of the ring, and none of its steps.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import aclosing
from pathlib import Path

from ringcore.agent.block_store import BlockStore, Store, Writing
from ringcore.agent.blocks_link import FarStore
from ringcore.agent.in_thread import in_thread
from ringcore.agent.peer_link import PeerLink
from ringcore.agent.peer_messages import BlocksHere, FromMember
from ringcore.agent.whereabouts import Move, Whereabouts
from ringcore.spec.control import MOST_BLOCKS, BlocksElsewhere, Bring, Brought
from ringcore.spec.deployment import Deployment
from ringcore.spec.events import Level

_LISTING_SECONDS = 30.0


class BlocksLeader:
    """``open_link``: have the agent of a rank connect once more (see `meet`). ``tell``: to rank 0."""

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        open_link: Callable[[int], None],
        tell: Callable[[BlocksElsewhere | Brought], None],
        say: Callable[[Level, str], None],
    ) -> None:
        self._folder = folder
        self._deployment = deployment
        self._open_link = open_link
        self._tell = tell
        self._say = say
        shards = [stage.shard for stage in deployment.plan.stages]
        self._where = Whereabouts(shards)
        self._own: BlockStore | None = None
        self._silent = set(range(1, len(shards)))  # members whose list is not complete
        self._listed = asyncio.Event()
        self._orders: asyncio.Queue[tuple[Bring, float]] = asyncio.Queue()
        self._links: dict[int, asyncio.Future[PeerLink[FromMember]]] = {}
        self._working: asyncio.Task[None] | None = None
        self._limit: tuple[int, asyncio.Timeout] | None = None  # of the order that is being obeyed
        self._unwanted: set[int] = set()

    def join(self, root: str) -> None:
        """Every rank opens its files of ``root`` now."""
        if root and self._deployment.plan.prefix_disk_blocks and self._silent:
            self._own = BlockStore(self._folder / root)
            self._working = asyncio.create_task(self._work(self._own), name="blocks of other hosts")

    def heard(self, rank: int, message: BlocksHere) -> None:
        """What lies on the host of ``rank``."""
        self._where.add(rank, message.files)
        if not message.more:
            self._silent.discard(rank)
        if not self._silent:
            self._listed.set()

    def bring(self, order: Bring) -> None:
        """Rank 0 wants these blocks. It hears `Brought`."""
        if self._working is None:
            self._tell(Brought(id=order.id, count=0, cause="nothing is known to lie on other hosts"))
            return
        self._orders.put_nowait((order, asyncio.get_running_loop().time() + order.seconds))

    def drop(self, order: int) -> None:
        """Nobody waits for it any more: it is answered with what has come."""
        self._unwanted.add(order)
        if self._limit is not None and self._limit[0] == order and not self._limit[1].expired():
            self._limit[1].reschedule(asyncio.get_running_loop().time())

    def meet(self, rank: int, link: PeerLink[FromMember]) -> bool:
        """The connection that ``open_link`` asked for; False when nobody waits for one."""
        waiting = self._links.get(rank)
        if waiting is None or waiting.done():
            return False
        waiting.set_result(link)
        return True

    async def forget(self) -> None:
        """Nothing of earlier sequences is kept: what is on its way goes nowhere."""
        await self.close()
        while not self._orders.empty():
            order, _ = self._orders.get_nowait()
            self._tell(Brought(id=order.id, count=0, cause="nothing is kept any more"))

    async def close(self) -> None:
        working, self._working = self._working, None
        if working is None:
            return
        working.cancel()
        await asyncio.wait({working})
        if not working.cancelled() and (error := working.exception()) is not None:
            self._say("ERROR", f"blocks could not be brought any more: {type(error).__name__}: {error}")

    # the task ------------------------------------------------------------------------------------
    async def _work(self, own: BlockStore) -> None:
        try:
            async with asyncio.timeout(_LISTING_SECONDS):
                self._where.add(0, await in_thread(own.files))
                await self._listed.wait()
            found = await in_thread(self._where.elsewhere)
        except (TimeoutError, OSError) as error:
            self._say("WARNING", f"blocks on other hosts' disks are not used: {error or 'no list of them'}")
            found = {}
        blocks = list(found.items())
        for at in range(0, len(blocks), MOST_BLOCKS):
            self._tell(BlocksElsewhere(blocks=tuple(blocks[at : at + MOST_BLOCKS])))
        while True:
            order, until = await self._orders.get()
            self._tell(await self._obey(order, until))

    async def _obey(self, order: Bring, until: float) -> Brought:
        loop = asyncio.get_running_loop()
        began, count, size, cause = loop.time(), 0, 0, ""
        try:
            async with asyncio.timeout_at(began if order.id in self._unwanted else until) as limit:
                self._limit = order.id, limit
                for name in order.blocks:
                    size += await self._block(name)
                    count += 1
        except TimeoutError:
            unwanted = order.id in self._unwanted
            cause = "nobody waits for them" if unwanted else f"{order.seconds:.1f} s were not enough"
        except asyncio.CancelledError:
            self._tell(Brought(id=order.id, count=0, cause="nothing is kept any more"))
            raise
        except OSError as error:
            cause = str(error)
        finally:
            self._limit = None
            self._unwanted.discard(order.id)
            for rank in tuple(self._links):
                self._leave(rank)
        return Brought(id=order.id, count=count, bytes=size, seconds=loop.time() - began, cause=cause)

    async def _block(self, name: str) -> int:
        """Bytes that were moved for it. Raises ``OSError``."""
        moves = self._where.moves(name)
        if moves is None:
            raise OSError("the hosts do not have all its layers any more")
        for move in moves:
            try:
                await self._move(move)
            except OSError as error:
                self._where.remove(move.source, move.file)  # not asked for again
                raise OSError(f"{move.file.file_name}: {error.strerror or error}") from error
            for rank in move.targets:
                self._where.add(rank, [move.file])
        return sum(move.bytes for move in moves)

    async def _move(self, move: Move) -> None:
        source = await self._store(move.source)
        writings: list[Writing] = []
        try:
            for rank in move.targets:
                writings.append(await (await self._store(rank)).begin(move.file))
            async with aclosing(source.read(move.file)) as pieces:
                async for piece in pieces:
                    for writing in writings:
                        await writing.write(piece)
            while writings:
                await writings[0].finish()
                writings.pop(0)
        finally:
            _abort(writings)

    async def _store(self, rank: int) -> Store:
        if rank == 0:
            assert self._own is not None
            return self._own
        known = self._links.get(rank)
        if known is not None and not known.result().closed:
            return FarStore(known.result())
        waiting = asyncio.get_running_loop().create_future()
        self._links[rank] = waiting
        self._open_link(rank)
        return FarStore(await waiting)

    def _leave(self, rank: int) -> None:
        waiting = self._links.pop(rank)
        if waiting.done() and not waiting.cancelled():
            waiting.result().cut()
        waiting.cancel()


def _abort(writings: Iterable[Writing]) -> None:
    for writing in writings:
        writing.abort()
