"""Files of blocks over a connection of their own between the leader's agent and a member's.

The leader's side sees the member's files as a `Store`; the member's side does what it asks, one file after
the other. The connection that says who lives and who failed carries none of it. A transfer that was broken
off in its middle ends the connection: what would follow on it belongs to nobody.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ringcore.agent.block_store import Store, Writing
from ringcore.agent.peer_link import PeerLink
from ringcore.agent.peer_messages import FileDone, FromLeader, FromMember, GiveFile, Piece, TakeFile
from ringcore.spec.block_file import BlockFile


class FarStore:
    """The files on the member's host at the other end of ``link``; a `Store`."""

    def __init__(self, link: PeerLink[FromMember]) -> None:
        self._link = link

    async def read(self, file: BlockFile) -> AsyncGenerator[bytes]:
        self._link.send(GiveFile(file=file))
        whole = False
        try:
            while not whole:
                message = await self._link.receive()
                if isinstance(message, Piece):
                    yield await self._link.receive_piece(message)
                else:
                    whole = True
                    _done(message)
        finally:
            if not whole:
                self._link.cut()

    async def begin(self, file: BlockFile) -> "_FarWriting":
        self._link.send(TakeFile(file=file))
        return _FarWriting(self._link)


class _FarWriting:
    """See `Writing`."""

    def __init__(self, link: PeerLink[FromMember]) -> None:
        self._link = link

    async def write(self, piece: bytes) -> None:
        await self._link.send_piece(piece)

    async def finish(self) -> None:
        self._link.send(FileDone())
        _done(await self._link.receive())

    def abort(self) -> None:
        self._link.cut()


async def serve(link: PeerLink[FromLeader], store: Store) -> None:
    """The member's side, until the connection ends: raises ``ConnectionError`` then."""
    while True:
        match await link.receive():
            case GiveFile(file):
                link.send(FileDone(cause=await _give(link, store, file)))
            case TakeFile(file):
                link.send(FileDone(cause=await _take(link, store, file)))
            case message:
                raise ConnectionError(f"a {type(message).__name__} was not asked for")


async def _give(link: PeerLink[FromLeader], store: Store, file: BlockFile) -> str:
    async with aclosing(store.read(file)) as pieces:
        while True:
            try:
                piece = await anext(pieces, b"")
            except OSError as error:
                return f"it cannot be read: {error.strerror or error}"
            if not piece:
                return ""
            await link.send_piece(piece)


async def _take(link: PeerLink[FromLeader], store: Store, file: BlockFile) -> str:
    """What is sent is taken to its end also where the disk does not want it."""
    cause = ""
    writing: Writing | None = None
    try:
        try:
            writing = await store.begin(file)
        except OSError as error:
            cause = _unwritten(error)
        while isinstance(message := await link.receive(), Piece):
            piece = await link.receive_piece(message)
            if writing is not None and not cause:
                try:
                    await writing.write(piece)
                except OSError as error:
                    cause = _unwritten(error)
        if not isinstance(message, FileDone):
            raise ConnectionError(f"a {type(message).__name__} came in the middle of a file")
        if writing is not None and not cause:
            try:
                await writing.finish()
                writing = None
            except OSError as error:
                cause = _unwritten(error)
        return cause
    finally:
        if writing is not None:
            writing.abort()


def _done(message: FromMember) -> None:
    if not isinstance(message, FileDone):
        raise ConnectionError(f"a {type(message).__name__} came in the middle of a file")
    if message.cause:
        raise OSError(message.cause)


def _unwritten(error: OSError) -> str:
    return f"it cannot be written: {error.strerror or error}"
