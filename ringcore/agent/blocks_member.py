"""A member's part in moving blocks of the prefix cache: it tells the leader's agent what lies on its host,
and gives and takes files over a connection of its own, for as long as the leader wants one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

from ringcore.agent.block_store import BlockStore
from ringcore.agent.blocks_link import serve
from ringcore.agent.in_thread import in_thread
from ringcore.agent.peer_link import PeerLink, Untrusted
from ringcore.agent.peer_messages import MOST_NAMES, BlocksHere, FromLeader
from ringcore.spec.deployment import Deployment


class BlocksMember:
    """``tell``: to the leader's agent. ``connect``: once more, to serve files; raises ``OSError`` or
    `Untrusted`."""

    def __init__(
        self,
        folder: Path,
        deployment: Deployment,
        tell: Callable[[BlocksHere], None],
        connect: Callable[[], Awaitable[PeerLink[FromLeader]]],
    ) -> None:
        self._folder = folder
        self._deployment = deployment
        self._tell = tell
        self._connect = connect
        self._store: BlockStore | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def join(self, root: str) -> None:
        """The rank opens its files of ``root`` now."""
        if root and self._deployment.plan.prefix_disk_blocks:
            self._store = BlockStore(self._folder / root)
            self._spawn(self._list(self._store))

    def open(self) -> None:
        """The leader wants a connection for files."""
        if self._store is not None:
            self._spawn(self._serve(self._store))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _list(self, store: BlockStore) -> None:
        try:
            files = await in_thread(store.files)
        except OSError:  # then there are none that could be read
            files = []
        for at in range(0, max(1, len(files)), MOST_NAMES):
            self._tell(
                BlocksHere(files=tuple(files[at : at + MOST_NAMES]), more=at + MOST_NAMES < len(files))
            )

    async def _serve(self, store: BlockStore) -> None:
        with suppress(OSError, Untrusted):  # the leader sees that nobody comes, or that the connection ended
            link = await self._connect()
            try:
                await serve(link, store)
            finally:
                link.cut()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
