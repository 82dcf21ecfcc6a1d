"""Who is compared: each starts, plays tasks, ends. None knows of another.

`Ours` is a ring of real agents, ranks and gateway that ``mlxring up`` started, asked through its HTTP API.
`Reference` is mlx-lm in one process, in several that ``--pipeline`` joins, or in several side by side.
"""

import asyncio
import json
import os
import random
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec
import psutil
import tomlkit

from benchmarks.children import THREADS, Child, ChildFailed
from benchmarks.keeper import DOWN_SECONDS, UP_SECONDS
from benchmarks.tasks import Task, hello_decoder, played_decoder
from console.bench.completions import Answer, Completions
from console.bench.rounds import together
from console.demo.hosts import environment

LOAD_SECONDS, PLAY_SECONDS, END_SECONDS = 300.0, 3600.0, 5.0


Groups = Sequence[Sequence[Answer]]  # the answers of each part that works for itself


class Contender(Protocol):
    name: str
    computes_with: str

    async def start(self) -> None: ...

    async def play(self, task: Task) -> Groups:
        """Raises `ChildFailed`, `ApiError`, ``TimeoutError``."""
        ...

    async def end(self) -> None: ...


class Ours:
    """A ring of ``ranks`` on this machine, with so many ``layers`` each; () leaves them to the planner.
    ``folder`` holds its hosts' homes, too; ``cache`` is the profile's table of that name."""

    def __init__(
        self,
        model: Path,
        folder: Path,
        *,
        ranks: int,
        layers: Sequence[int],
        sequences: int,
        context: int,
        cores: Sequence[int],
        cache: Mapping[str, str | int] | None = None,
        name: str = "ring",
    ) -> None:
        self.name = name
        self.computes_with = ""
        self._folder = folder
        self._cores = cores
        self._context = context
        self._keeper: Child | None = None
        port = free_ports(ranks + 2)
        self._url = f"http://127.0.0.1:{port + ranks + 1}"
        self._profile = folder / "ring.toml"
        self._environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache")}
        hosts = [
            {"name": f"h{n}", "ssh": "local", "address": "127.0.0.1", "python": sys.executable}
            for n in range(ranks)
        ]
        self._values: dict[str, Any] = {
            "name": "bench",
            "model": str(model),
            "ring": {"port": port, "sequences": sequences, "context": context},
            "api": {"port": port + ranks + 1},
            "cache": dict(cache or {}),
            "hosts": hosts,
        }
        folder.mkdir(parents=True)
        self.split(layers)

    def split(self, layers: Sequence[int]) -> None:
        """From the next start on each rank has so many."""
        self._values["ring"]["layers"] = list(layers)
        self._profile.write_text(tomlkit.dumps(self._values))

    async def start(self) -> None:
        self._keeper = await Child.start(
            self.name,
            "benchmarks.keeper",
            [str(self._profile)],
            log=self._folder / "keeper.log",
            cores=self._cores,
            environment=self._environment,
        )
        await self._keeper.line(UP_SECONDS + DOWN_SECONDS)
        self.computes_with = await self._ranks_compute_with()

    async def play(self, task: Task) -> Groups:
        async with asyncio.timeout(PLAY_SECONDS), Completions(self._url) as api:
            if task.late:
                return [await self._with_a_late_one(api, task)]
            return [await together([api.ask(prompt, task.tokens) for prompt in task.prompts])]

    async def end(self) -> None:
        if self._keeper is not None:
            await self._keeper.end(2 * DOWN_SECONDS)

    @property
    def block_files(self) -> list[Path]:
        """What the hosts keep of earlier prompts in files."""
        return [path for path in self._folder.glob("cache/**/prefix/*/*") if path.is_file()]

    def processor_seconds(self) -> float:
        """What all processes of the ring have used of the processor so far."""
        used = 0.0
        for process in psutil.process_iter():
            try:
                if "ringcore" in process.cmdline() and process.cwd().startswith(f"{self._folder}/"):
                    times = process.cpu_times()
                    used += times.user + times.system
            except psutil.Error:
                continue
        return used

    async def _with_a_late_one(self, api: Completions, task: Task) -> Sequence[Answer]:
        """The streams are left once the late prompt has its first token and each of them two more."""
        moved = asyncio.Event()
        heard: list[list[float]] = [[] for _ in task.prompts]

        def hear(stream: list[float], time: float) -> None:
            stream.append(time)
            moved.set()

        async def until_each_has(count: int, after: float) -> None:
            while any(sum(time > after for time in stream) < count for stream in heard):
                moved.clear()
                await moved.wait()

        began = asyncio.get_running_loop().time()
        streams = [
            asyncio.create_task(
                api.ask(prompt, self._context - len(prompt), lambda time, stream=stream: hear(stream, time))
            )
            for prompt, stream in zip(task.prompts, heard, strict=True)
        ]
        watching = asyncio.create_task(_late(api, task, until_each_has))
        try:
            await asyncio.wait({watching, *streams}, return_when=asyncio.FIRST_COMPLETED)
            for stream in streams:
                if stream.done():
                    stream.result()
                    raise ChildFailed("a stream ended before the late prompt was read: raise the context")
            late = watching.result()
        finally:
            for act in (watching, *streams):
                act.cancel()
            await asyncio.gather(watching, *streams, return_exceptions=True)
        answers = [
            Answer(
                began=began,
                ended=times[-1],
                arrivals=tuple(times),
                prompt_tokens=len(prompt),
                tokens=len(times),
                reason="length",
            )
            for prompt, times in zip(task.prompts, heard, strict=True)
        ]
        return [*answers, late]

    async def status(self) -> dict[str, Any]:
        """The state in ``mlxring status --json``."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "console", "status", str(self._profile), "--json",
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            env=self._environment,
        )  # fmt: skip
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        state: dict[str, Any] = json.loads(out)["state"]
        return state

    async def _ranks_compute_with(self) -> str:
        hosts = (await self.status())["hosts"]
        return "; ".join(sorted({str(host["computes_with"]) for host in hosts}))


async def _late(
    api: Completions, task: Task, until_each_has: Callable[[int, float], Awaitable[None]]
) -> Answer:
    await until_each_has(task.lead, 0.0)
    late = await api.ask(task.late, 1)
    await until_each_has(2, late.first)
    return late


class Reference:
    """mlx-lm in ``processes`` processes: joined by ``--pipeline``, or each for itself."""

    def __init__(
        self, name: str, model: Path, folder: Path, *, processes: int, pipeline: bool, cores: Sequence[int]
    ) -> None:
        self.name = name
        self.computes_with = ""
        self._model = model
        self._folder = folder
        self._count = processes
        self._pipeline = pipeline
        self._cores = cores
        self._children: list[Child] = []

    async def start(self) -> None:
        self._folder.mkdir(parents=True)
        joined: dict[str, str] = {}
        if self._pipeline:
            port = free_ports(self._count)
            hosts = self._folder / "hosts.json"
            hosts.write_text(json.dumps([[f"127.0.0.1:{port + n}"] for n in range(self._count)]))
            joined = {"MLX_HOSTFILE": str(hosts)}
        for number in range(self._count):
            self._children.append(
                await Child.start(
                    f"{self.name} process {number}",
                    "benchmarks.reference",
                    [str(self._model), *(["--pipeline"] if self._pipeline else [])],
                    log=self._folder / f"{number}.log",
                    cores=self._cores,
                    # that of a local host, as the ring's ranks have: nothing of this shell tunes either
                    environment={**environment(self._folder), **THREADS, **joined, "MLX_RANK": str(number)},
                )
            )
        hellos = [hello_decoder.decode(await child.line(LOAD_SECONDS)) for child in self._children]
        for hello in hellos:
            if hello.fault:
                raise ChildFailed(f"{self.name}: {hello.fault}")
        self.computes_with = "; ".join(sorted({hello.computes_with for hello in hellos}))

    async def play(self, task: Task) -> Groups:
        """Joined processes all do the task, and rank 0's times count; others share its prompts, or have one
        each like it where there is but one."""
        if self._pipeline or self._count == 1:
            return (await together([self._one(child, task) for child in self._children]))[:1]
        parts = shared(task, self._count)
        return await together([self._one(*each) for each in zip(self._children, parts, strict=True)])

    async def end(self) -> None:
        await asyncio.gather(*(child.end(END_SECONDS) for child in self._children))

    async def _one(self, child: Child, task: Task) -> Sequence[Answer]:
        await child.tell(msgspec.json.encode(task))
        played = played_decoder.decode(await child.line(PLAY_SECONDS))
        if played.fault:
            raise ChildFailed(f"{child.name}: {played.fault}")
        return played.answers


def shared(task: Task, count: int) -> list[Task]:
    """The task for each of ``count`` processes side by side; one prompt becomes one like it for each."""
    if len(task.prompts) == 1:
        return [task] * count
    return [msgspec.structs.replace(task, prompts=task.prompts[n::count]) for n in range(count)]


def free_ports(count: int) -> int:
    """The first of ``count`` consecutive loopback ports that nothing listens on."""
    while True:
        first = random.randrange(20_000, 30_000)  # outgoing connections never take these
        taken = False
        for port in range(first, first + count):
            with socket.socket() as probe:
                taken |= probe.connect_ex(("127.0.0.1", port)) == 0
        if not taken:
            return first
