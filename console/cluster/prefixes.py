"""What a ring keeps of earlier sequences in files on its hosts: which blocks, of which weights, how old.

Changes nothing. Knows no archives.
"""

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import Struct

from console.cluster.host import Host
from console.cluster.prefixes_program import program, read
from console.cluster.remote import read_run_file
from ringcore.planning.prefix import BLOCK_TOKENS
from ringcore.spec.block_file import BlockFile, parse
from ringcore.spec.deployment import DEPLOYMENT_FILE
from ringcore.spec.shard import Shard

_LIST_SECONDS = 60.0


class Kept(Struct, frozen=True):
    """On one host, of one root. ``used``: when each was used last, in Unix seconds by the host's clock."""

    files: tuple[BlockFile, ...] = ()
    used: tuple[float, ...] = ()

    @property
    def blocks(self) -> int:
        return len({file.name for file in self.files})

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


class There(Struct, frozen=True):
    """On one host. ``free_bytes`` of its disk; ``roots``: what names hang on, the one used last first."""

    free_bytes: int
    roots: dict[str, Kept]

    @property
    def root(self) -> str:
        """The one that counts: a rank removes all others when it starts. "" where there is none."""
        return next(iter(self.roots), "")


class Deployed(Struct, frozen=True, kw_only=True):
    """What a ring computes, and which host has which layers, as it was deployed last."""

    model: str
    revision: str
    dtype: str
    shards: dict[str, Shard]
    kv_bits: int = 0
    block_tokens: int = BLOCK_TOKENS

    @property
    def layers(self) -> int:
        return next(iter(self.shards.values())).total


class _Stage(Struct):
    host: str
    shard: Shard


class _Plan(Struct):
    model: str
    revision: str
    dtype: str
    stages: list[_Stage]
    kv_bits: int = 0
    block_tokens: int = BLOCK_TOKENS


class _Deployment(Struct):
    plan: _Plan


async def look(host: Host, ring: str) -> There:
    """Raises `ProvisionError` where the folder cannot be read, `HostError`."""
    result = await host.run(program(host, ring, "list"), timeout=_LIST_SECONDS)
    answer = read(result.stdout.strip().rpartition("\n")[2].encode(), host, result.stderr)
    roots = {root: _kept(files) for root, files in answer.roots.items() if len(root) == 32}
    last = {root: max(kept.used, default=0.0) for root, kept in roots.items()}
    return There(
        answer.free, {root: roots[root] for root in sorted(roots, key=last.__getitem__, reverse=True)}
    )


async def deployed(host: Host, ring: str) -> Deployed | None:
    """As the leader ``host`` has it; None where nothing (that this console understands) is deployed."""
    result = await host.run(read_run_file(host.options.home, ring, DEPLOYMENT_FILE))
    try:
        plan = msgspec.json.decode(result.stdout, type=_Deployment).plan
    except msgspec.MsgspecError:
        return None
    if not plan.stages:
        return None
    shards = {stage.host: stage.shard for stage in plan.stages}
    return Deployed(
        model=plan.model,
        revision=plan.revision,
        dtype=plan.dtype,
        shards=shards,
        kv_bits=plan.kv_bits,
        block_tokens=plan.block_tokens,
    )


def _kept(files: Sequence[tuple[str, int, float]]) -> Kept:
    found: list[tuple[float, BlockFile]] = []
    for name, size, used in files:
        file = parse(name, size)
        if file is not None and size >= 0 and file.start < file.end:
            found.append((used, file))
    found.sort(key=lambda each: (each[0], each[1].file_name))
    return Kept(tuple(file for _, file in found), tuple(used for used, _ in found))


def whole(there: Mapping[str, Kept], layers: int) -> tuple[dict[str, tuple[tuple[str, BlockFile], ...]], int]:
    """Blocks of which the hosts have all ``layers`` together, the least recently used first: which file of
    which host for which layers. And how many have less. Pure."""
    used: dict[str, float] = {}
    files: dict[str, list[tuple[str, BlockFile]]] = {}
    for host, kept in there.items():
        for when, file in zip(kept.used, kept.files, strict=True):
            files.setdefault(file.name, []).append((host, file))
            used[file.name] = max(when, used.get(file.name, 0.0))
    found: dict[str, tuple[tuple[str, BlockFile], ...]] = {}
    for block in sorted(files, key=lambda block: (used[block], block)):
        if cover := _cover(files[block], layers):
            found[block] = cover
    return found, len(files) - len(found)


def _cover(files: Sequence[tuple[str, BlockFile]], layers: int) -> tuple[tuple[str, BlockFile], ...]:
    """The fewest of ``files`` with all layers, in their order; none where layers are missing."""
    chosen: list[tuple[str, BlockFile]] = []
    at = 0
    while at < layers:
        begun = [each for each in files if each[1].start <= at < each[1].end <= layers]
        if not begun:
            return ()
        chosen.append(max(begun, key=lambda each: each[1].end))
        at = chosen[-1][1].end
    return tuple(chosen)
