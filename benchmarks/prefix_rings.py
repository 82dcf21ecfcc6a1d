"""The rings of `benchmarks.prefix`: one keeps nothing, one keeps blocks in memory, one in files too.

Owns what is asked of them when. A prompt whose beginning was seen is asked right behind one that nobody has
seen; rings with and without the cache take turns. Knows no command line.
"""

import argparse
import asyncio
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import prefix_results
from benchmarks.children import ChildFailed
from benchmarks.contenders import Ours
from benchmarks.prefix_results import OFF
from benchmarks.running import progress
from benchmarks.tasks import Task
from console.bench.completions import Answer
from console.bench.prompts import Prompts
from ringcore.checkpoint.survey import Tensor, survey
from ringcore.planning.card import make_card
from ringcore.planning.prefix import block_bytes, block_tokens
from ringcore.spec.card import ModelCard
from ringcore.spec.units import MIB

SEQUENCES = 2
MEMORY, DISK = "memory", "memory and disk"
_STILL_SECONDS, _WRITE_SECONDS = 1.0, 120.0
_ROOM = 512  # tokens of context beyond a prompt
_IN_A_ROW = 2  # prompts of a round of the cost: what the first leaves to do meets the second
_MOVED = 2  # layers that change their rank
_LEAST_MIB = 64  # that a profile may ask for


class Rings:
    """One model. Everything that it starts has ended after `end`."""

    def __init__(self, asked: argparse.Namespace, folder: Path, cores: Sequence[int]) -> None:
        self._asked = asked
        self._cores = cores
        self._folder = folder
        self._model = folder / "models" / asked.model
        self._card = card_of(self._model)
        self._prompts = Prompts(self._card.vocab_size, seed=1)
        self.context = asked.prompt + _ROOM
        self.layers, self.moved = splits(len(self._card.layers), asked.ranks)
        self.block_tokens = block_tokens(self._card, asked.block_tokens)
        self._block_bytes = block_bytes(self._card, 0, len(self._card.layers), self.block_tokens)
        # All that a phase asks stays: a prompt asked twice, or one and its like.
        blocks = (2 * asked.repeat + 4) * (asked.prompt // self.block_tokens + 1)
        size = max(_LEAST_MIB, -(-blocks * self._block_bytes // MIB))
        self.memory, self.disk = f"{size} MiB", f"{4 * size} MiB"
        self._rings = {
            OFF: self._ring(OFF, {"memory": "0 MiB"}),
            MEMORY: self._ring(MEMORY, {"memory": self.memory}),
            DISK: self._ring(DISK, {"memory": self.memory, "disk": self.disk}),
        }

    @property
    def computes_with(self) -> str:
        return self._rings[DISK].computes_with

    async def costs(self) -> tuple[prefix_results.Cost, ...]:
        """Of prompts that nobody has seen, on all three rings by turns."""
        for name in self._rings:
            await self._start(name)
        seconds: dict[str, list[float]] = {name: [] for name in self._rings}
        processor: dict[str, list[float]] = {name: [] for name in self._rings}
        for number in range(self._asked.repeat):
            prompts = [self._prompts.take(self._asked.prompt) for _ in range(_IN_A_ROW)]
            for name in turned(tuple(self._rings), number):
                ring = self._rings[name]
                before = ring.processor_seconds()
                # Two tokens: the second comes behind the step that stores.
                answers = [await self._ask(ring, prompt, 2) for prompt in prompts]
                await _settled(ring)
                seconds[name].append((answers[-1].ended - answers[0].began) / _IN_A_ROW)
                processor[name].append((ring.processor_seconds() - before) / _IN_A_ROW)
                progress(
                    f"not seen, round {number + 1}/{self._asked.repeat}, {name}: {seconds[name][-1]:.3f} s"
                )
        await self.end()
        return (
            prefix_results.cost("time", "s a prompt", seconds),
            prefix_results.cost("processor time of the ring", "s a prompt", processor),
        )

    async def seen(self) -> tuple[tuple[prefix_results.Seen, ...], tuple[prefix_results.Stored, ...]]:
        """Beginnings from memory, from files after a restart, and after layers were moved; and what their
        tokens take."""
        ring, asked = self._rings[DISK], self._asked
        starts = [self._prompts.take(asked.seen) for _ in range(asked.repeat)]
        await self._start(DISK)
        found = [await self._beside_cold(ring, "from memory", starts, again=True)]
        await _settled(ring)
        stored = [await self._in_memory(ring)]
        await ring.end()
        stored.append(self._in_files(ring))
        await self._start(DISK)
        found.append(await self._beside_cold(ring, "from disk after a restart", starts))
        if self.moved != self.layers:
            await _settled(ring)
            await ring.end()
            ring.split(self.moved)
            await self._start(DISK)
            found.append(await self._beside_cold(ring, "from disk after layers moved", starts))
        return tuple(found), tuple(stored)

    async def end(self) -> None:
        await asyncio.gather(*(ring.end() for ring in self._rings.values()), return_exceptions=True)

    async def _beside_cold(
        self, ring: Ours, name: str, starts: Sequence[Sequence[int]], *, again: bool = False
    ) -> prefix_results.Seen:
        """Prompts that go on from ``starts``, each behind a cold one; ``again``: of the same beginning."""
        asked = self._asked
        pairs: list[tuple[float, float]] = []
        cached: list[int] = []
        for start in starts:
            beginning = start if again else self._prompts.take(asked.seen)
            tails = [self._prompts.take(asked.prompt - asked.seen) for _ in range(2)]
            cold = await self._ask(ring, [*beginning, *tails[0]])
            if cold.cached_tokens:
                raise ValueError(
                    f"a prompt that nobody has seen had {cold.cached_tokens} tokens in the cache"
                )
            await _settled(ring)  # what the cold one leaves to write is not the other's
            warm = await self._ask(ring, [*start, *tails[1]])
            pairs.append((cold.first - cold.began, warm.first - warm.began))
            cached.append(warm.cached_tokens)
            progress(
                f"{name}: {pairs[-1][1]:.3f} s beside {pairs[-1][0]:.3f}, {cached[-1]} tokens not computed"
            )
        return prefix_results.seen(name, pairs, cached)

    async def _start(self, name: str) -> None:
        progress(f"starting the ring: {name}")
        await self._rings[name].start()
        await self._ask(self._rings[name], self._prompts.take(self._asked.prompt))

    async def _ask(self, ring: Ours, prompt: Sequence[int], tokens: int = 1) -> Answer:
        task = Task(kind="prefill", prompts=(tuple(prompt),), tokens=tokens)
        ((answer,),) = await ring.play(task)
        return answer

    async def _in_memory(self, ring: Ours) -> prefix_results.Stored:
        kept = [host["memory"]["prefix"] for host in (await ring.status())["hosts"]]
        return self._stored("memory", int(kept[0]["blocks"]), sum(int(each["bytes"]) for each in kept))

    def _in_files(self, ring: Ours) -> prefix_results.Stored:
        """One file a rank and block."""
        files = ring.block_files
        size = sum(path.stat().st_size for path in files)
        return self._stored("files", len(files) // self._asked.ranks, size)

    def _stored(self, where: str, blocks: int, size: int) -> prefix_results.Stored:
        tokens, least = blocks * self.block_tokens, blocks * self._block_bytes
        return prefix_results.Stored(where=where, tokens=tokens, bytes=size, least_bytes=least)

    def _ring(self, name: str, cache: dict[str, str | int]) -> Ours:
        return Ours(
            self._model, self._folder / name.replace(" ", "-"), ranks=self._asked.ranks, cores=self._cores,
            sequences=SEQUENCES, context=self.context, cache=cache | {"block_tokens": self.block_tokens},
            layers=self.layers, name=name,
        )  # fmt: skip


def card_of(model: Path) -> ModelCard:
    """As the console makes it for hosts that compute in float32."""
    found = survey(model)
    return make_card(model.name, found["config"], [Tensor(*each) for each in found["tensors"]], "float32")


def splits(layers: int, ranks: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Layers of each rank in equal parts, and with one or two of rank 0's moved to its neighbour."""
    equal = tuple(layers // ranks + (rank < layers % ranks) for rank in range(ranks))
    moving = min(_MOVED, equal[0] - 1) if ranks > 1 else 0
    moved = list(equal)
    if moving:
        moved[0] -= moving
        moved[1] += moving
    return equal, tuple(moved)


def turned(names: Sequence[str], number: int) -> list[str]:
    """Another begins in each round, so that what changes slowly meets all alike."""
    at = number % len(names)
    return [*names[at:], *names[:at]]


async def _settled(ring: Ours) -> None:
    """Until the ring has nothing more to write, and is at rest."""
    since = time.monotonic()
    deadline, files = since + _WRITE_SECONDS, -1
    while time.monotonic() - since < _STILL_SECONDS:
        now = len(ring.block_files)
        if now != files:
            files, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise ChildFailed(f"blocks were still written after {_WRITE_SECONDS:g} s")
        await asyncio.sleep(0.2)
