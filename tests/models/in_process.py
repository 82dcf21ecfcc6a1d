"""A ring without links: the engine's steps through the executors of all stages, one after the other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from ringcore.cache.behind import Behind
from ringcore.cache.disk import Disk
from ringcore.cache.kinds import Holds
from ringcore.engine.engine import Engine
from ringcore.engine.limits import Keeping, Limits
from ringcore.engine.scheduler import Bounds
from ringcore.engine.step import Operation, Step
from ringcore.models.stage import ModelStage
from ringcore.planning.prefix import BLOCK_TOKENS
from ringcore.rank.executor import Executor
from ringcore.rank.link import Message
from ringcore.spec.engine import EngineToGateway, Finished, Sampling, Started, Submit, Token


class InProcess:
    """``prefix_blocks`` places for blocks of ``block_tokens``; ``rows`` sequences decode in one step;
    ``folders``: where each stage has its blocks on disk."""

    def __init__(
        self,
        stages: Sequence[ModelStage],
        *,
        prefix_blocks: int = 0,
        rows: int = 4,
        chunk: int = 32,
        block_tokens: int = BLOCK_TOKENS,
        folders: Sequence[Path] = (),
    ) -> None:
        self.warnings: list[str] = []
        self.disks = [
            Behind(
                Disk(folder, bytes(16), 64, 0), stage.shard, stage.make_cache(), stage.cache_layers,
                self.warnings.append,
            )
            for stage, folder in zip(stages, folders, strict=False)
        ]  # fmt: skip
        behind = self.disks or [None] * len(stages)
        self.executors = [Executor(stage, behind=disk) for stage, disk in zip(stages, behind, strict=True)]
        bounds = Bounds(
            stages=len(stages), sequences=4, chunk=chunk, max_prompt_tokens=4096, rows=rows, least_chunk=chunk
        )
        self.engine = Engine(
            Limits(
                context=8192,
                vocab_size=stages[-1].vocab_size,
                bounds=bounds,
                in_flight=16,
                prefix=Keeping(
                    blocks=prefix_blocks,
                    block_tokens=block_tokens,
                    at_once=not stages[0].holds <= {Holds.TOKENS},
                    at_ends=Holds.STATE in stages[0].holds,
                ),
            ),
            *[disk.has for disk in self.disks[-1:]],
        )
        self.messages: list[EngineToGateway] = []
        self.steps: list[Step] = []
        self._flights: list[Step] = []

    def submit(self, name: str, prompt: list[int], most: int, **sampling: Any) -> None:
        self.messages += self.engine.submit(
            Submit(
                id=name, prompt=prompt, max_tokens=most, stop_tokens=[],
                sampling=msgspec.convert(sampling, Sampling),
            )
        )  # fmt: skip

    def turn(self) -> bool:
        """Issue what may be issued, and let the oldest step come round; False when nothing is left to do."""
        while True:
            step, messages = self.engine.next_step()
            self.messages += messages
            if step is None:
                break
            self.steps.append(step)
            self._flights.append(step)
        if not self._flights:
            return False
        message = Message(self._flights.pop(0))
        for executor in self.executors:
            message = executor.perform(message)
        self.messages += self.engine.acknowledge(message.step)
        return True

    def run(self) -> None:
        while self.turn():
            pass

    def tokens(self, name: str) -> list[int]:
        return [each.token for each in self.messages if isinstance(each, Token) and each.id == name]

    def cached(self, name: str) -> int:
        """Tokens of the prompt that were not computed."""
        (started,) = [each for each in self.messages if isinstance(each, Started) and each.id == name]
        return started.cached_tokens

    def finished(self, name: str) -> bool:
        return any(isinstance(each, Finished) and each.id == name for each in self.messages)

    def answer(self, name: str, prompt: list[int], most: int, **sampling: Any) -> list[int]:
        """Alone, from start to end."""
        self.submit(name, prompt, most, **sampling)
        self.run()
        return self.tokens(name)

    def settle(self) -> None:
        """Everything is on disk."""
        for disk in self.disks:
            disk.settle()

    def computed(self) -> int:
        """Tokens that went through the layers."""
        return sum(step.token_count for step in self.steps if step.operation is Operation.RUN)
