"""Files of blocks go from the agent that has them to those that lack them: whole or not at all, in time."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ringcore.agent import block_store, blocks_link, peer_link
from ringcore.agent.block_store import PIECE_BYTES, BlockStore
from ringcore.agent.blocks_leader import BlocksLeader
from ringcore.agent.blocks_member import BlocksMember
from ringcore.agent.peer_link import PeerLink
from ringcore.agent.peer_messages import FromLeader, Present, from_leader, from_member
from ringcore.spec.block_file import BlockFile
from ringcore.spec.control import BlocksElsewhere, Bring, Brought
from ringcore.spec.deployment import Deployment, Member
from tests.ring.harness import make_plan

SECRET = b"s" * 32
ROOT = "0f" * 16
NAMES = [f"{number:032x}" for number in range(4)]


class World:
    """Agents of ``counts`` layers a rank, rank 0 leading; a folder of blocks each."""

    def __init__(self, folder: Path, counts: list[int]) -> None:
        self.folder = folder
        self.plan = make_plan(counts, order="forward", prefix_disk_blocks=8)
        self.told: asyncio.Queue[BlocksElsewhere | Brought] = asyncio.Queue()
        self.said: list[str] = []
        self.leader = BlocksLeader(
            self.blocks(0),
            self._deployment(0),
            lambda rank: self.members[rank].open(),
            self.told.put_nowait,
            lambda level, text: self.said.append(f"{level} {text}"),
        )
        self.members: dict[int, BlocksMember] = {}
        self.port = 0
        self._links: list[PeerLink] = []
        for rank in range(1, len(counts)):
            self.members[rank] = BlocksMember(
                self.blocks(rank),
                self._deployment(rank),
                lambda message, rank=rank: self.leader.heard(rank, message),
                lambda rank=rank: self._connect(rank),
            )

    def blocks(self, rank: int) -> Path:
        return self.folder / str(rank) / "prefix"

    def put(self, rank: int, name: str, start: int, end: int, size: int = 1000) -> bytes:
        """A file on the host of ``rank``, as its rank would have written it."""
        content = bytes((start + end + number) % 251 for number in range(251)) * (size // 251 + 1)
        path = self.path(rank, name, start, end)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content[:size])
        return content[:size]

    def path(self, rank: int, name: str, start: int, end: int) -> Path:
        return self.blocks(rank) / ROOT / BlockFile(name, start, end).file_name

    def left(self, rank: int) -> list[str]:
        return sorted(path.name for path in self.blocks(rank).rglob("*") if path.is_file())

    def join(self, root: str = ROOT) -> None:
        for each in (self.leader, *self.members.values()):
            each.join(root)

    async def heard(self) -> BlocksElsewhere | Brought:
        async with asyncio.timeout(20):
            return await self.told.get()

    async def bring(self, *names: str, seconds: float = 15.0) -> Brought:
        self.leader.bring(Bring(id=7, blocks=names, seconds=seconds))
        answer = await self.heard()
        assert isinstance(answer, Brought) and answer.id == 7
        return answer

    def _deployment(self, rank: int) -> Deployment:
        members = tuple(
            Member(rank=n, host=f"h{n}", address="127.0.0.1", link_port=0)
            for n in range(len(self.plan.stages))
        )
        return Deployment(
            ring="t", run_id="1", rank=rank, plan=self.plan, members=members, control_port=0, backend="ring",
            model_name="m", model_path="", api_bind="", api_port=0,
        )  # fmt: skip

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = await peer_link.accept(reader, writer, SECRET, from_member)
        self._links.append(link)
        present = await link.receive()
        assert isinstance(present, Present) and self.leader.meet(present.rank, link)

    async def _connect(self, rank: int) -> PeerLink[FromLeader]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        link = await peer_link.greet(reader, writer, SECRET, from_leader)
        self._links.append(link)
        link.send(Present(rank=rank, run_id="1", digest="d", version="v", blocks=True))
        return link

    async def close(self) -> None:
        for each in (self.leader, *self.members.values()):
            await each.close()
        assert all(link.closed for link in self._links), "no connection outlives what it was for"


@asynccontextmanager
async def agents(folder: Path, counts: list[int]) -> AsyncIterator[World]:
    world = World(folder, counts)
    server = await asyncio.start_server(world.meet, "127.0.0.1", 0)
    world.port = server.sockets[0].getsockname()[1]
    try:
        yield world
        await world.close()
    finally:
        server.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - of files
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("size", [1, 1000, PIECE_BYTES, 3 * PIECE_BYTES + 17])
async def test_each_rank_gets_what_it_lacks_through_the_leader(size: int, tmp_path: Path) -> None:
    """After two ranks of three layers come three of two: the first host lacks nothing."""
    async with agents(tmp_path, [2, 2, 2]) as world:
        first = [world.put(0, name, 0, 3, size) for name in NAMES[:2]]
        last = [world.put(1, name, 3, 6, size) for name in NAMES[:2]]
        world.join()
        elsewhere = await world.heard()
        assert isinstance(elsewhere, BlocksElsewhere)
        assert dict(elsewhere.blocks) == dict.fromkeys(NAMES[:2], 2 * size)
        answer = await world.bring(*NAMES[:2])
        assert (answer.count, answer.bytes, answer.cause) == (2, 4 * size, "") and answer.seconds > 0
        for number, name in enumerate(NAMES[:2]):
            assert world.path(1, name, 0, 3).read_bytes() == first[number]
            assert world.path(2, name, 3, 6).read_bytes() == last[number]
            assert world.path(2, name, 3, 6).stat().st_mode & 0o777 == 0o600
        assert len(world.left(0)) == 2 and not any("tmp" in name for r in range(3) for name in world.left(r))
        again = await world.bring(*NAMES[:2])
        assert (again.count, again.bytes) == (2, 0), "nothing goes twice"


async def test_a_block_that_is_not_whole_is_not_offered_and_not_brought(tmp_path: Path) -> None:
    async with agents(tmp_path, [3, 3]) as world:
        world.put(0, NAMES[0], 0, 2)
        world.put(0, NAMES[1], 0, 6)
        world.join()
        elsewhere = await world.heard()
        assert isinstance(elsewhere, BlocksElsewhere) and dict(elsewhere.blocks) == {NAMES[1]: 1000}
        answer = await world.bring(NAMES[0], NAMES[1])
        assert (answer.count, answer.bytes) == (0, 0) and "all its layers" in answer.cause
        assert world.left(1) == []


@pytest.mark.parametrize("source", [0, 1])
async def test_a_file_that_went_meanwhile_ends_the_order_with_what_came_before(
    source: int, tmp_path: Path
) -> None:
    async with agents(tmp_path, [2, 2, 2]) as world:
        for name in NAMES[:3]:
            world.put(source, name, 0, 6)
        world.join()
        await world.heard()
        world.path(source, NAMES[1], 0, 6).unlink()
        answer = await world.bring(*NAMES[:3])
        assert answer.count == 1 and NAMES[1] in answer.cause
        await until(lambda: [len(world.left(rank)) for rank in range(3) if rank != source] == [1, 1])
        assert (await world.bring(NAMES[2])).count == 1, "the next order finds the way open"


@pytest.mark.parametrize("source", [0, 1])
async def test_a_file_that_shrank_is_not_put_in_place(source: int, tmp_path: Path) -> None:
    async with agents(tmp_path, [2, 2, 2]) as world:
        world.put(source, NAMES[0], 0, 6)
        world.join()
        await world.heard()
        path = world.path(source, NAMES[0], 0, 6)
        path.write_bytes(path.read_bytes()[:-1])
        answer = await world.bring(NAMES[0])
        assert answer.count == 0 and "less of the file" in answer.cause
        await until(lambda: [world.left(rank) for rank in range(3) if rank != source] == [[], []])


@pytest.mark.parametrize("source", [0, 1])
async def test_a_host_that_goes_silent_in_the_middle_costs_the_time_out_and_no_more(
    source: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agents(tmp_path, [2, 2, 2]) as world:
        world.put(source, NAMES[0], 0, 6, 3 * PIECE_BYTES)
        world.put(source, NAMES[1], 0, 6, 10)
        world.join()
        await world.heard()
        silence = asyncio.Event()
        read = BlockStore.read

        async def stalls(self: BlockStore, file: BlockFile) -> AsyncIterator[bytes]:
            async for piece in read(self, file):
                yield piece
                await silence.wait()

        monkeypatch.setattr(BlockStore, "read", stalls)
        began = asyncio.get_running_loop().time()
        answer = await world.bring(NAMES[0], seconds=0.4)
        assert 0.3 < asyncio.get_running_loop().time() - began < 5
        assert (answer.count, answer.cause) == (0, "0.4 s were not enough")
        monkeypatch.setattr(BlockStore, "read", read)
        assert (await world.bring(NAMES[1])).count == 1
        await until(lambda: not any("tmp" in name for rank in range(3) for name in world.left(rank)))
        assert [len(world.left(rank)) for rank in range(3)] == [1 + (source == 0), 1 + (source == 1), 1]


async def test_the_end_of_the_ring_in_the_middle_of_a_transfer_waits_for_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agents(tmp_path, [2, 2, 2]) as world:
        world.put(1, NAMES[0], 0, 6, 3 * PIECE_BYTES)
        world.join()
        await world.heard()
        came, never = asyncio.Event(), asyncio.Event()
        read = BlockStore.read

        async def stalls(self: BlockStore, file: BlockFile) -> AsyncIterator[bytes]:
            async for piece in read(self, file):
                yield piece
                came.set()
                await never.wait()

        monkeypatch.setattr(BlockStore, "read", stalls)
        world.leader.bring(Bring(id=7, blocks=(NAMES[0],), seconds=60))
        async with asyncio.timeout(20):
            await came.wait()
            await world.close()
        assert world.told.get_nowait().count == 0
        await until(lambda: [len(world.left(rank)) for rank in range(3)] == [0, 1, 0])


async def test_what_nobody_waits_for_is_broken_off_and_the_next_order_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agents(tmp_path, [3, 3]) as world:
        for name in NAMES[:3]:
            world.put(0, name, 0, 6)
        world.join()
        await world.heard()
        came, never = asyncio.Event(), asyncio.Event()
        read = BlockStore.read

        async def stalls(self: BlockStore, file: BlockFile) -> AsyncIterator[bytes]:
            async for piece in read(self, file):
                yield piece
                if file.name == NAMES[1]:
                    came.set()
                    await never.wait()

        monkeypatch.setattr(BlockStore, "read", stalls)
        for number, names in ((1, NAMES[:2]), (2, NAMES[1:2]), (3, NAMES[2:3])):
            world.leader.bring(Bring(id=number, blocks=tuple(names), seconds=60))
        async with asyncio.timeout(20):
            await came.wait()
        world.leader.drop(2)
        world.leader.drop(1)
        answers = [await world.heard() for _ in range(3)]
        assert [(answer.id, answer.count) for answer in answers] == [(1, 1), (2, 0), (3, 1)]
        assert [answer.cause for answer in answers] == ["nobody waits for them"] * 2 + [""]


async def test_a_full_disk_on_one_host_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agents(tmp_path, [3, 3]) as world:
        world.put(0, NAMES[0], 0, 6, 2 * PIECE_BYTES)
        world.join()
        await world.heard()

        def full(_descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(block_store.os, "fsync", full)
        answer = await world.bring(NAMES[0])
        assert answer.count == 0 and "No space left on device" in answer.cause
        assert world.left(1) == []


async def test_what_was_forgotten_goes_nowhere(tmp_path: Path) -> None:
    async with agents(tmp_path, [3, 3]) as world:
        world.put(0, NAMES[0], 0, 6)
        world.join()
        await world.heard()
        await world.leader.forget()
        answer = await world.bring(NAMES[0])
        assert answer.count == 0 and answer.cause and world.left(1) == []


async def test_without_a_root_or_files_nothing_is_asked_and_every_order_is_answered(tmp_path: Path) -> None:
    async with agents(tmp_path, [3, 3]) as world:
        world.join("")
        assert (await world.bring(NAMES[0])).count == 0
        world.join()
        assert (await world.bring(NAMES[0])).count == 0


async def test_a_list_of_many_files_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringcore.agent.blocks_member.MOST_NAMES", 3)
    monkeypatch.setattr("ringcore.agent.blocks_leader.MOST_BLOCKS", 5)
    async with agents(tmp_path, [3, 3]) as world:
        names = [f"{number:032x}" for number in range(8)]
        for name in names:
            world.put(1, name, 0, 6)
        world.join()
        found: dict[str, int] = {}
        while len(found) < 8:
            message = await world.heard()
            assert isinstance(message, BlocksElsewhere) and len(message.blocks) <= 5
            found |= dict(message.blocks)
        assert sorted(found) == names


async def test_links_and_strange_names_among_the_files_are_not_passed_on(tmp_path: Path) -> None:
    folder = tmp_path / ROOT
    folder.mkdir()
    secret = tmp_path / "secret"
    secret.write_text("secret")
    wanted = BlockFile(NAMES[0], 0, 3, 6)
    (folder / wanted.file_name).symlink_to(secret)
    (folder / "notes.txt").write_text("x")
    (folder / BlockFile(NAMES[1], 0, 3).file_name).write_text("12")
    store = BlockStore(folder)
    assert store.files() == [BlockFile(NAMES[1], 0, 3, 2)]
    with pytest.raises(OSError):
        async for _ in store.read(wanted):
            raise AssertionError("a link was followed")


async def pair() -> tuple[PeerLink, PeerLink, asyncio.Server]:
    accepted: asyncio.Queue[PeerLink] = asyncio.Queue()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.put_nowait(await peer_link.accept(reader, writer, SECRET, from_member))

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    return await peer_link.greet(reader, writer, SECRET, from_leader), await accepted.get(), server


@pytest.mark.parametrize("at", [500, -1])
async def test_a_piece_that_was_changed_on_the_way_is_not_taken(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, leader, server = await pair()
    write = member._writer.write

    def changes(data: bytes) -> None:
        if len(data) > 900:
            data = bytes([*data[:at], data[at] ^ 1, *data[at:][1:]])
        write(data)

    monkeypatch.setattr(member._writer, "write", changes)
    try:
        await member.send_piece(b"x" * 1000)
        with pytest.raises(ConnectionError, match="forged"):
            await leader.receive_piece(await leader.receive())
    finally:
        member.cut()
        leader.cut()
        server.close()


async def test_pieces_and_words_share_a_connection_without_mixing() -> None:
    member, leader, server = await pair()
    try:
        for number in range(1, 40):
            await member.send_piece(bytes([number]) * number * 1000)
            member.send(Present(rank=number, run_id="", digest="", version=""))
        for number in range(1, 40):
            assert await leader.receive_piece(await leader.receive()) == bytes([number]) * number * 1000
            assert (await leader.receive()).rank == number
    finally:
        member.cut()
        leader.cut()
        server.close()


async def test_what_a_member_was_not_asked_for_ends_its_connection(tmp_path: Path) -> None:
    member, leader, server = await pair()
    try:
        serving = asyncio.create_task(blocks_link.serve(member, BlockStore(tmp_path)))
        await leader.send_piece(b"x")
        with pytest.raises(ConnectionError, match="Piece was not asked for"):
            await serving
    finally:
        member.cut()
        leader.cut()
        server.close()
