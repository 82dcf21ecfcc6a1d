"""Puts an archive's blocks on the hosts of a ring that does not run, each those of the layers it will have.

Knows that nobody else changes the hosts meanwhile. Nothing is written anywhere before there is room on all.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from console.cluster.host import Host
from console.cluster.hosts import Hosts
from console.cluster.prefixes import Deployed, There, deployed
from console.cluster.prefixes_archive import Advance, Manifest
from console.cluster.prefixes_export import look_at_all
from console.cluster.prefixes_program import Words, ask, read, running
from console.cluster.prefixes_read import Archive
from console.cluster.quoting import quote
from console.cluster.steps import raise_first, together
from ringcore.spec.block_file import BlockFile
from ringcore.spec.errors import ProfileError, ProvisionError
from ringcore.spec.profile import Profile
from ringcore.spec.units import MIB, format_bytes

_SPARE_BYTES = 64 * MIB
_WRITE = 128 << 10

_Share = dict[BlockFile, str]  # files for one host, with their sums


class Imported(Struct, frozen=True, kw_only=True):
    """``bytes`` were sent, in ``files``; ``there`` files were on their hosts already. ``known``: this ring
    has kept blocks of this root before; else its ranks say at the next start whether they are theirs."""

    file: str
    root: str
    blocks: int
    files: int
    bytes: int
    there: int
    known: bool


async def import_archive(
    hosts: Hosts, archive: Archive, payload: int, file: str, advance: Advance
) -> Imported:
    """``payload``: bytes of all tensors in there. Raises `ProfileError` where it is not for this ring,
    `ProvisionError`, `HostError`. May be run again: what is there by then is not sent."""
    profile, manifest = hosts.profile, archive.manifest
    _see_that_it_may_keep(profile, payload)
    ring = await deployed(await hosts.leader(), profile.name)
    if ring is None or not ring.shards.keys() <= hosts.reached.keys():
        raise ProvisionError(
            f"the ring {profile.name} is not deployed as its profile has it: which layers each host gets is "
            "not known",
            f"run `mlxring deploy {quote(profile.path or 'PROFILE')}` first",
            host=profile.leader.name,
        )
    _see_that_it_fits(profile, ring, manifest)
    there = await look_at_all(hosts)
    known = _see_that_the_root_is_its_own(profile, there[profile.leader.name], manifest)
    shares = _shares(ring, manifest)
    missing = await _missing(hosts, shares, manifest.root)
    for name, share in missing.items():
        _see_that_there_is_room(name, there[name], share)
    total, done = sum(_size(share) for share in missing.values()), 0

    def moved(count: int) -> None:
        nonlocal done
        done += count
        advance(done, total)

    sending = [
        _send(host, profile.name, archive, missing[host.options.name], moved) for host in hosts.of([*missing])
    ]
    raise_first(await together(sending))
    files = sum(len(share) for share in missing.values())
    return Imported(
        file=file,
        root=manifest.root,
        blocks=len(manifest.blocks),
        files=files,
        bytes=total,
        there=sum(len(share) for share in shares.values()) - files,
        known=known,
    )


def _shares(ring: Deployed, manifest: Manifest) -> dict[str, _Share]:
    """By host, the files that have layers of its stage."""
    return {
        host: {
            file: expected
            for file, expected in manifest.files()
            if file.start < shard.end and shard.start < file.end
        }
        for host, shard in ring.shards.items()
    }


async def _missing(hosts: Hosts, shares: Mapping[str, _Share], root: str) -> dict[str, _Share]:
    """Of each host's files those that it does not have already, in rank order."""
    found: dict[str, _Share] = {}

    async def one(host: Host) -> None:
        share = shares[host.options.name]
        text = "".join(f"{expected} {file.file_name}\n" for file, expected in share.items())
        async with running(host, hosts.profile.name, "same", root) as remote:
            await ask(remote, host, f"{text}\n".encode())
            words = Words(remote, host)
            there = [read(await words.line(), host).same for _ in share]
        found[host.options.name] = {
            file: expected for (file, expected), same in zip(share.items(), there, strict=True) if not same
        }

    raise_first(await hosts.over(one, hosts.of([*shares])))
    return {name: found[name] for name in shares}


async def _send(host: Host, ring: str, archive: Archive, share: _Share, moved: Callable[[int], None]) -> None:
    if not share:
        return
    async with running(host, ring, "take", archive.manifest.root) as remote:
        words = Words(remote, host)
        taken = asyncio.create_task(_taken(words, host, [*share]))
        try:
            for file, expected in share.items():
                data = await asyncio.to_thread(archive.read, file)
                order = {"name": file.file_name, "bytes": file.size, "sum": expected}
                await ask(remote, host, json.dumps(order).encode() + b"\n")
                for at in range(0, len(data), _WRITE):
                    await ask(remote, host, data[at : at + _WRITE])
                    moved(len(data[at : at + _WRITE]))
                if taken.done():  # it has had enough, and says why
                    break
            else:
                await ask(remote, host, b"\n")
            await taken
        finally:
            taken.cancel()
            await asyncio.gather(taken, return_exceptions=True)


async def _taken(words: Words, host: Host, files: Sequence[BlockFile]) -> None:
    for file in files:
        answer = read(await words.line(), host)
        if answer.done != file.file_name:
            raise ProvisionError(
                f"it said nothing of {file.file_name}, which it was sent",
                "run the command again",
                host=host.options.name,
            )


def _see_that_it_may_keep(profile: Profile, payload: int) -> None:
    allowed = profile.cache.disk_bytes
    if not allowed:
        raise ProfileError(
            f"the ring {profile.name} may keep nothing in files: cache.disk is off in the profile",
            f'set `disk = "{format_bytes(payload)}"` or more under [cache]',
        )
    if payload > allowed:
        raise ProfileError(
            f"the blocks take {format_bytes(payload)}; cache.disk allows {format_bytes(allowed)}",
            "allow more in the profile",
        )


def _see_that_it_fits(profile: Profile, ring: Deployed, manifest: Manifest) -> None:
    """Raises `ProfileError` for blocks of another model, or of the same one computed in another way."""
    kinds: Mapping[str, tuple[object, object]] = {
        "model": (manifest.model, ring.model),
        "revision": (manifest.revision, ring.revision),
        "dtype": (manifest.dtype, ring.dtype),
        "bits of a cache": (manifest.kv_bits, ring.kv_bits),
        "tokens of a block": (manifest.block_tokens, ring.block_tokens),
        "layers": (manifest.layers, ring.layers),
    }
    for what, (theirs, own) in kinds.items():
        if theirs != own:
            raise ProfileError(
                f"these blocks are of another ring's model: {what} {theirs}, {profile.name} has {own}; "
                "nothing was changed",
                "import them where the same model runs in the same way",
            )


def _see_that_the_root_is_its_own(profile: Profile, leader: There, manifest: Manifest) -> bool:
    """Whether the ring is known to have this root. Raises `ProfileError` when it is known to have another."""
    if leader.roots and manifest.root not in leader.roots:
        raise ProfileError(
            f"these blocks are of other weights (root {manifest.root[:8]}) than those that {profile.name} "
            f"keeps (root {leader.root[:8]}); nothing was changed",
            f"if it will run with the archive's weights, `mlxring cache {quote(profile.path or 'PROFILE')} "
            "--clear` first",
        )
    return bool(leader.roots)


def _see_that_there_is_room(name: str, there: There, share: _Share) -> None:
    need = _size(share)
    if share and there.free_bytes < need + _SPARE_BYTES:
        raise ProvisionError(
            f"its disk has {format_bytes(there.free_bytes)} free; the blocks that it lacks take "
            f"{format_bytes(need)}; nothing was sent to any host",
            "free space there, or set hosts.home in the profile to a folder on another disk",
            host=name,
        )


def _size(share: _Share) -> int:
    return sum(file.size for file in share)
