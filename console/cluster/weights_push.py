"""Sends one host the files of its stage that it lacks: resumed, summed end to end, over several streams.

What the files are is `weights_local`'s; the other end is `ringcore.checkpoint.receive`.
"""

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import msgspec
from msgspec import Struct

from console.cluster.host import Attached, Host
from console.cluster.weights_local import Piece, Sums
from ringcore.spec.errors import HostError, ProvisionError
from ringcore.spec.units import MIB, format_bytes

STREAMS = 2
_LIST_SECONDS = 60.0
_STALL_SECONDS = 60.0  # nothing taken by the host for so long
_WRITE = 128 << 10  # larger writes are copied once more on their way
_SPARE_BYTES = 64 * MIB

Moved = Callable[[int], None]  # bytes that went out


class Listing(Struct, frozen=True):
    """What a folder on a host holds; see `ringcore.checkpoint.receive`."""

    ok: bool
    free: int = 0
    files: dict[str, tuple[int, str]] = {}
    parts: dict[str, int] = {}
    cause: str = ""


class Transfer(Struct, frozen=True):
    """``start``: where to go on; what is before lies there already."""

    piece: Piece
    start: int = 0

    @property
    def size(self) -> int:
        return self.piece.size - self.start


class _Answer(Struct, frozen=True):
    ok: bool = True
    done: str = ""
    bad: str = ""
    cause: str = ""
    full: bool = False


def missing(pieces: Sequence[Piece], there: Listing, sum_of: Callable[[Piece], str]) -> tuple[Transfer, ...]:
    """What has to be sent, the largest first. ``sum_of`` is asked only of files that are there already."""
    found: list[Transfer] = []
    for piece in pieces:
        size, digest = there.files.get(piece.name, (-1, ""))
        if size == piece.size and digest and digest == sum_of(piece):
            continue
        part = there.parts.get(piece.name, 0)
        found.append(Transfer(piece, part if 0 < part <= piece.size else 0))
    return tuple(sorted(found, key=lambda transfer: -transfer.size))


def superfluous(
    transfers: Sequence[Transfer], pieces: Sequence[Piece], there: Listing
) -> tuple[str, ...] | None:
    """Weights of other stages to remove so that ``transfers`` find room: none when there is room, None when
    it would not be enough."""
    lacking = sum(transfer.size for transfer in transfers) + _SPARE_BYTES - there.free
    if not transfers or lacking <= 0:
        return ()
    wanted = {piece.name for piece in pieces}
    sizes = {name: size for name, (size, _) in there.files.items()} | there.parts
    unneeded = {
        name: size for name, size in sizes.items() if name.endswith(".safetensors") and name not in wanted
    }
    return tuple(unneeded) if sum(unneeded.values()) >= lacking else None


class Push:
    """One host, one model. ``folder`` is where its files lie there; ``python`` an interpreter there."""

    def __init__(self, host: Host, python: str, folder: str, sums: Sums, streams: int = STREAMS) -> None:
        self._host = host
        self._python = python
        self._folder = folder
        self._sums = sums
        self._streams = streams
        self._script = resources.files("ringcore.checkpoint").joinpath("receive.py").read_text()

    async def look(self, pieces: Sequence[Piece]) -> tuple[tuple[Transfer, ...], tuple[str, ...]]:
        """What is to be sent and what to be removed before. Raises `ProvisionError` when the disk is too
        small, `HostError`."""
        result = await self._host.run(self._argv("list"), timeout=_LIST_SECONDS)
        try:
            there = msgspec.json.decode(result.stdout.strip().rpartition("\n")[2], type=Listing)
        except msgspec.MsgspecError:
            said = (result.stderr or result.stdout).strip()[-300:] or f"status {result.status}"
            raise self._error(f"looking at {self._folder} broke off: {said}") from None
        if not there.ok:
            raise self._error(there.cause)
        transfers = await asyncio.to_thread(missing, pieces, there, self._sums.of)
        remove = superfluous(transfers, pieces, there)
        if remove is None:
            need = sum(transfer.size for transfer in transfers)
            raise ProvisionError(
                f"the disk of {self._folder} has {format_bytes(there.free)} free; the weights that this host "
                f"lacks take {format_bytes(need)}",
                "free space there, or set hosts.home in the profile to a folder on another disk",
                host=self._host.options.name,
            )
        return transfers, remove

    async def send(self, transfers: Sequence[Transfer], remove: Sequence[str], moved: Moved) -> None:
        """All of ``transfers``; whole and on the disk there when this returns. May be cancelled at any
        point, and goes on from there when it is called anew after `look`."""
        left = deque(transfers)
        begun = asyncio.Event()
        streams = [
            asyncio.create_task(self._stream(left, remove, begun, moved, number))
            for number in range(min(self._streams, len(left)))
        ]
        try:
            await asyncio.gather(*streams)
        finally:
            for stream in streams:
                stream.cancel()
            await asyncio.gather(*streams, return_exceptions=True)
        if left:
            raise self._error("the streams ended before all was sent")

    async def _stream(
        self, left: deque[Transfer], remove: Sequence[str], begun: asyncio.Event, moved: Moved, number: int
    ) -> None:
        """The first one makes room and lets the others begin."""
        opened = False
        if number:
            await begun.wait()
        try:
            async with self._host.stream(self._argv("receive"), timeout=0) as remote:
                opened = True
                answers = _answers(remote)
                if remove and not number:
                    await self._give(remote, _line({"forget": list(remove)}), _STALL_SECONDS)
                begun.set()
                while left:
                    await self._deliver(remote, answers, left.popleft(), moved)
                await self._give(remote, b"\n", _STALL_SECONDS)
        except HostError:
            if number and not opened:  # a server that takes few sessions: fewer streams then
                return
            raise

    async def _deliver(
        self, remote: Attached, answers: AsyncIterator[_Answer], transfer: Transfer, moved: Moved
    ) -> None:
        if await self._sent_well(remote, answers, transfer, moved):
            return
        # once more from its beginning: what lay there may have been another model's
        moved(-transfer.piece.size)
        if not await self._sent_well(remote, answers, Transfer(transfer.piece), moved):
            raise self._error(
                f"{transfer.piece.name} arrived twice with another SHA-256 than it was sent with",
                "see whether a disk or memory of this machine or the host is failing",
            )

    async def _sent_well(
        self, remote: Attached, answers: AsyncIterator[_Answer], transfer: Transfer, moved: Moved
    ) -> bool:
        """Whether the sums are the same at both ends."""
        piece = transfer.piece
        # reading back what lies there already, and a slow disk, take their time
        patience = _STALL_SECONDS + piece.size / (50 * MIB)
        reading = asyncio.ensure_future(anext(answers, _Answer(ok=False, cause="it ended without an answer")))
        try:
            order = {"name": piece.name, "bytes": piece.size, "from": transfer.start}
            await self._give(remote, _line(order), patience)
            digest = await self._pour(remote, transfer, reading, moved, patience)
            if digest:
                await self._give(remote, f"{digest}\n".encode(), patience)
            async with asyncio.timeout(patience):
                answer = await reading
        except TimeoutError:
            raise self._stalled(patience) from None
        finally:
            _drop(reading)
        if not answer.ok:
            raise self._refused(answer)
        if answer.done == piece.name:
            self._sums.learn(piece, digest)
        return answer.done == piece.name

    async def _pour(
        self,
        remote: Attached,
        transfer: Transfer,
        reading: "asyncio.Future[_Answer]",
        moved: Moved,
        patience: float,
    ) -> str:
        """The piece's data from its start on. The SHA-256 of all of it; "" when the host has had enough."""
        digest = hashlib.sha256()
        at = 0
        blocks = transfer.piece.blocks()
        upcoming = asyncio.create_task(asyncio.to_thread(_next, blocks, digest))
        try:
            while data := await upcoming:
                upcoming = asyncio.create_task(asyncio.to_thread(_next, blocks, digest))
                skip = min(len(data), max(0, transfer.start - at))
                at += len(data)
                for start in range(skip, len(data), _WRITE):
                    part = data[start : start + _WRITE]
                    await self._give(remote, part, patience)
                    moved(len(part))
                if reading.done():
                    return ""
        except OSError as error:
            raise ProvisionError(
                f"{error.filename} on this machine cannot be read: {error.strerror or error}",
                "see that the model's folder is whole and on a sound disk",
                host=self._host.options.name,
            ) from None
        finally:
            _drop(upcoming)
        return digest.hexdigest()

    async def _give(self, remote: Attached, data: bytes, patience: float) -> None:
        try:
            async with asyncio.timeout(patience):
                await remote.send(data)
        except TimeoutError:
            raise self._stalled(patience) from None

    def _argv(self, task: str) -> list[str]:
        return [self._python, "-I", "-B", "-c", self._script, task, self._folder]

    def _stalled(self, patience: float) -> HostError:
        return HostError(
            f"the host took no data for {patience:.0f} s",
            "see whether the host or its disk hangs, then run the command again: it goes on from there",
            host=self._host.options.name,
        )

    def _refused(self, answer: _Answer) -> ProvisionError:
        if answer.full:
            return self._error(
                f"the disk of {self._folder} is full",
                "free space there and run the command again: what has arrived stays; "
                "or set hosts.home in the profile to a folder on another disk",
            )
        return self._error(answer.cause)

    def _error(self, cause: str, remedy: str = "") -> ProvisionError:
        remedy = remedy or f"see that this user may write to {self._folder}, then run the command again"
        return ProvisionError(f"weights: {cause}", remedy, host=self._host.options.name)


def _drop(task: "asyncio.Future[Any]") -> None:
    """Nobody waits for it any more, nor for what it failed with."""
    task.cancel()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())


def _next(blocks: Iterator[bytes], digest: "hashlib._Hash") -> bytes:  # pyright: ignore[reportPrivateUsage]
    data = next(blocks, b"")
    digest.update(data)
    return data


def _line(order: Mapping[str, object]) -> bytes:
    return json.dumps(order, separators=(",", ":")).encode() + b"\n"


async def _answers(remote: Attached) -> AsyncIterator[_Answer]:
    async for line in remote.lines():
        try:
            yield msgspec.json.decode(line, type=_Answer)
        except msgspec.MsgspecError:
            yield _Answer(ok=False, cause=line.decode(errors="replace")[-300:])
