"""A ring whose hosts keep blocks in files, behind real SSH servers, for tests of what is done with them."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import numpy as np

from console.cluster.connect import SshConnector
from console.cluster.host import Host
from console.cluster.operator import Operator
from console.cluster.ssh import SshHost, connect
from console.cluster.target import Target
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from ringcore.cache.disk import Disk, Tensors
from ringcore.spec.profile import CacheOptions, HostOptions, Profile
from ringcore.spec.units import GIB
from tests.cluster.reach import Heard, plain_environment, served

ROOT, OTHER_ROOT = bytes(range(16)), bytes(16)
LAYERS = 5
NAMES = [bytes([number] * 16) for number in range(1, 7)]
NOBODY = lambda _done, _total: None  # noqa: E731


def tensors(block: int, start: int = 0, end: int = LAYERS, width: int = 4) -> Tensors:
    """Of one block; bits of a layer are the same whoever has it."""
    return {
        f"{layer}.0.{i}": np.random.default_rng([block, layer, i]).random((1, 2, 64, width), np.float32)
        for layer in range(start, end)
        for i in (0, 1)
    }


class Keeping(SshConnector):
    """A ring "t" of hosts below ``folder``; rank n has layers ``splits[n]`` to ``splits[n + 1]``."""

    def __init__(self, folder: Path, splits: tuple[int, ...] = (0, 2, LAYERS)) -> None:
        super().__init__()
        self.folder = folder
        self.splits = splits
        self.reached: dict[str, SshHost] = {}
        self._targets: dict[str, Target] = {}
        self.names = [f"h{number}" for number in range(len(splits) - 1)]
        self.homes = {name: folder / name / ".mlxring" for name in self.names}
        self.profile = Profile(
            name="t",
            model="/no/such/model",
            path="ring.toml",
            hosts=tuple(
                HostOptions(name=name, ssh=f"op@{name}", address="127.0.0.1", python=sys.executable)
                for name in self.names
            ),
            cache=CacheOptions(disk_bytes=GIB),
        )
        self.deploy()

    def run_folder(self, name: str) -> Path:
        return self.homes[name] / "runs" / "t"

    def deploy(self, **changes: object) -> None:
        stages = [
            {"host": name, "shard": {"start": start, "end": end, "total": LAYERS}}
            for name, start, end in zip(self.names, self.splits, self.splits[1:], strict=False)
        ]
        plan = {"model": "toy", "revision": "r1", "dtype": "float32", "stages": stages} | changes
        for name in self.names:
            self.run_folder(name).mkdir(parents=True, exist_ok=True)
            (self.run_folder(name) / "deployment.json").write_bytes(msgspec.json.encode({"plan": plan}))

    def disk(self, name: str, root: bytes = ROOT) -> Disk:
        return Disk(self.run_folder(name) / "prefix", root, 100, 0)

    def keeps(self, *blocks: int, root: bytes = ROOT, width: int = 4) -> None:
        """Each host its layers of ``blocks``."""
        for name, start, end in zip(self.names, self.splits, self.splits[1:], strict=False):
            disk = self.disk(name, root)
            for block in blocks:
                disk.write(NAMES[block], start, end, tensors(block, start, end, width))

    def files(self, name: str) -> dict[str, bytes]:
        """All that is below the folder for blocks."""
        folder = self.run_folder(name) / "prefix"
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                with suppress(FileNotFoundError):  # what receives gives a file its name
                    found[str(path.relative_to(folder))] = path.read_bytes()
        return found

    def reads(self, name: str, block: int, width: int = 4) -> bool:
        """Whether a rank there would find its layers of the block as they were."""
        at = self.names.index(name)
        start, end = self.splits[at], self.splits[at + 1]
        found, expected = self.disk(name).read(NAMES[block], start, end), tensors(block, start, end, width)
        return found is not None and all(np.array_equal(found[key], expected[key]) for key in expected)

    async def connect(self, options: HostOptions) -> Host:
        host = self.reached[options.name] = await connect(options, self._targets[options.name])
        return host

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[Operator]:
        servers = {
            name: served(self.folder / name, plain_environment(self.folder / name)) for name in self.names
        }
        for name, server in servers.items():
            self._targets[name] = await server.start()

        async def no_model(progress: object) -> str:
            raise AssertionError("no model is asked for")

        weights = Weights(self.profile, Heard(), self.folder / "cache")
        wheels = Wheelhouse(self.folder / "wheels")
        operator = Operator(self.profile, self, Heard(), no_model, wheels, weights)
        try:
            yield operator
        finally:
            await operator.close()
            await asyncio.gather(*(server.close() for server in servers.values()))

    async def export(self, file: Path, advance: Callable[[int, int], None] = NOBODY) -> object:
        async with self.operator() as operator:
            return await operator.export_prefixes(file, advance)

    async def take(self, file: Path, advance: Callable[[int, int], None] = NOBODY) -> object:
        async with self.operator() as operator:
            return await operator.import_prefixes(file, advance)
