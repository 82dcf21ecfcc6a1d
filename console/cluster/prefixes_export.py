"""Collects the blocks of all hosts into one archive on this machine; a ring that runs goes on."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from msgspec import Struct

from console.cluster.host import Host
from console.cluster.hosts import Hosts
from console.cluster.prefixes import Deployed, Kept, There, deployed, look, whole
from console.cluster.prefixes_archive import Advance, Block, Manifest, Part, manifest_of
from console.cluster.prefixes_program import MOST_BYTES, Words, ask, read, running
from console.cluster.prefixes_write import Writer, new_archive, see_that_it_may_be_written
from console.cluster.quoting import quote
from console.cluster.steps import raise_first
from console.logs.text import safe_line
from ringcore.planning.prefix import BLOCK_TOKENS
from ringcore.spec.block_file import BlockFile
from ringcore.spec.errors import HostError, ProfileError
from ringcore.spec.profile import Profile

_Cover = Sequence[tuple[str, BlockFile]]  # files of one block, each with the host that has it


class Exported(Struct, frozen=True, kw_only=True):
    """``partial`` blocks had some of their layers on no host; ``gone`` ones were removed meanwhile."""

    file: str
    root: str
    model: str
    blocks: int
    bytes: int
    partial: int
    gone: int


async def look_at_all(hosts: Hosts) -> dict[str, There]:
    """What lies on each host, in rank order. Raises the first failure."""
    found: dict[str, There] = {}

    async def one(host: Host) -> None:
        found[host.options.name] = await look(host, hosts.profile.name)

    raise_first(await hosts.over(one))
    return {name: found[name] for name in hosts.reached}


async def export(hosts: Hosts, file: Path, advance: Advance) -> Exported:
    """After all hosts were reached. Raises `ProfileError` where there is nothing to export, or no place;
    `ProvisionError`, `HostError`; then there is no file that was not there before."""
    see_that_it_may_be_written(file)
    profile = hosts.profile
    ring = await deployed(await hosts.leader(), profile.name)
    there = await look_at_all(hosts)
    root = there[profile.leader.name].root
    if ring is None or not root:
        raise _nothing(profile, ring)
    kept = {name: each.roots.get(root, Kept()) for name, each in there.items()}
    covers, partial = whole(kept, ring.layers)
    if not covers:
        raise _nothing(profile, ring, partial)
    planned = _planned(ring, root, covers)
    with new_archive(file, planned) as writer:
        await _collect(hosts, root, covers, writer, lambda done: advance(done, planned.bytes))
        if not writer.blocks:
            raise _nothing(profile, ring)
        manifest = await asyncio.to_thread(writer.finish)
    return Exported(
        file=str(file),
        root=root,
        model=manifest.model,
        blocks=len(manifest.blocks),
        bytes=manifest.bytes,
        partial=partial,
        gone=len(covers) - len(manifest.blocks),
    )


def _planned(ring: Deployed, root: str, covers: Mapping[str, _Cover]) -> Manifest:
    blocks = [
        Block(name, tuple(Part(file.start, file.end, file.size) for _, file in cover))
        for name, cover in covers.items()
    ]
    return manifest_of(ring, root, blocks, time.time())


async def _collect(
    hosts: Hosts, root: str, covers: Mapping[str, _Cover], writer: Writer, told: Callable[[int], None]
) -> None:
    """All files of a block, then those of the next, so that no more than one block is held here. Each host
    gives its files in that order, as far ahead as its connection takes."""
    wanted: dict[str, list[str]] = {}
    for cover in covers.values():
        for name, file in cover:
            wanted.setdefault(name, []).append(file.file_name)
    async with AsyncExitStack() as stack:
        giving: dict[str, Words] = {}
        for host in hosts.of([*wanted]):
            name = host.options.name
            remote = await stack.enter_async_context(running(host, hosts.profile.name, "give", root))
            await ask(remote, host, "".join(f"{each}\n" for each in [*wanted[name], ""]).encode())
            giving[name] = Words(remote, host)
        done = 0
        for block, cover in covers.items():
            parts: list[tuple[BlockFile, bytes]] = []
            for name, file in cover:
                (host,) = hosts.of([name])
                if (data := await _given(giving[name], host, file)) is not None:
                    parts.append((file, data))
            if len(parts) == len(cover):
                await asyncio.to_thread(writer.add, block, parts)
            done += sum(file.size for _, file in cover)
            told(done)


async def _given(words: Words, host: Host, file: BlockFile) -> bytes | None:
    """The file; None when it went meanwhile, or is another by now."""
    answer = read(await words.line(), host)
    if answer.name != file.file_name or answer.bytes > MOST_BYTES:
        raise HostError(
            f"it gave {safe_line(answer.name[:100]) or 'nothing'} where {file.file_name} was asked for",
            "run the command again",
            host=host.options.name,
        )
    if answer.gone:
        return None
    data = await words.exactly(answer.bytes)
    return data if len(data) == file.size else None


def _nothing(profile: Profile, ring: Deployed | None, partial: int = 0) -> ProfileError:
    """The error where there is no whole block."""
    if not profile.cache.disk_bytes:
        return ProfileError(
            f"the ring {profile.name} keeps nothing in files: cache.disk is off in the profile",
            'set `disk = "20 GiB"` under [cache], start the ring anew and use it',
        )
    if partial:
        return ProfileError(
            f"none of the {partial} blocks that {profile.name} has in files has all of its layers there",
            "the layers have moved, or a host was replaced: use the ring, then export again",
        )
    return ProfileError(
        f"the ring {profile.name} has nothing in files yet",
        f"use it first: a prompt counts from {ring.block_tokens if ring else BLOCK_TOKENS} tokens on; "
        f"`mlxring cache {quote(profile.path or 'PROFILE')}` shows what is kept",
    )
