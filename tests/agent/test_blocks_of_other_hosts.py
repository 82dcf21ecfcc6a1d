"""A ring whose layers moved begins prompts with what its hosts have in files, wherever that lies."""

import asyncio
import json
import os
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from ringcore import __version__
from ringcore.agent import peer_link
from ringcore.agent.peer_messages import Present, from_leader
from ringcore.spec.events import LogLine, MemoryUsed, PrefixUsed, RingChanged
from tests.agent.harness import Agents
from tests.gateway.small_tokenizer import SPECIAL, write_tokenizer
from tests.models.running import greedy_by_mlx_lm
from tests.models.small import VOCABULARY, build
from tests.ring.harness import until

pytestmark = pytest.mark.slow
LAYERS, ANSWER, HELD = 5, 24, 192
SEEDS = (1, 2)


def prompt(seed: int) -> list[int]:
    return [(37 * i + 11 * seed + i * i) % VOCABULARY for i in range(HELD + 9)]


@pytest.fixture(scope="module", params=["llama"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = build(request.param, tmp_path_factory.mktemp("model") / "m", layers=LAYERS)
    words = write_tokenizer(folder.parent / "words")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(words / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def expected(model: Path) -> dict[int, str]:
    """What one process answers to two prompts."""
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    answers = {seed: greedy_by_mlx_lm(model, prompt(seed), ANSWER) for seed in SEEDS}
    assert not any(token < len(SPECIAL) for ids in answers.values() for token in ids), "it would end early"
    return {seed: tokenizer.decode(ids) for seed, ids in answers.items()}


class Ring:
    """A serving ring of ``counts`` layers a rank; each rank's host is a folder that outlives it."""

    def __init__(self, folder: Path, model: Path, counts: list[int], run_id: str) -> None:
        self.agents = Agents(folder, model, counts, prefix_blocks=16, prefix_disk_blocks=16, prefill_chunk=32)
        self.agents.deploy(run_id)
        self.agents.start_all()
        self.consoles = [self.agents.attach(rank) for rank in range(len(counts))]
        self.url = self.consoles[0].wait(RingChanged, phase="serving").api_url

    def ask(self, seed: int) -> tuple[str, int]:
        """The answer, and how many tokens of the prompt were not computed."""
        body = {"prompt": prompt(seed), "max_tokens": ANSWER, "temperature": 0}
        request = urllib.request.Request(
            f"{self.url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
        return answer["choices"][0]["text"], answer["usage"]["prompt_tokens_details"]["cached_tokens"]

    def kept(self, rank: int) -> PrefixUsed:
        return self.consoles[rank].events(MemoryUsed, rank=rank)[-1].prefix

    def wait(self, rank: int, holds: Callable[[PrefixUsed], bool]) -> None:
        def met() -> bool:
            used = [event.prefix for event in self.consoles[rank].events(MemoryUsed, rank=rank)]
            return bool(used and used[-1] and holds(used[-1]))

        until(met, f"what rank {rank} keeps", 40)

    def written(self, blocks: int) -> None:
        """Wait until every rank has so many blocks on its disk."""
        for rank in range(len(self.consoles)):
            folder = self.agents.run(rank) / "prefix"
            names = lambda folder=folder: {path.name[:32] for path in folder.glob("*/*.safetensors")}  # noqa: E731
            until(lambda names=names: len(names()) >= blocks, f"{blocks} blocks of rank {rank}", 20)

    def said(self) -> list[str]:
        return [event.text for event in self.consoles[0].events(LogLine)]

    def stop(self) -> None:
        self.agents.attach(0, stop=True).to_the_end()
        self.agents.nothing_is_left()


Start = Callable[[list[int]], Ring]


@pytest.fixture
def start(tmp_path: Path, model: Path) -> Iterator[Start]:
    made: list[Ring] = []

    def begin(counts: list[int]) -> Ring:
        made.append(Ring(tmp_path, model, counts, f"run{len(made)}"))
        return made[-1]

    yield begin
    for ring in made:
        ring.agents.clear()


@pytest.mark.parametrize("model", ["llama", "qwen3_next"], indirect=True)  # the second keeps states
def test_from_two_ranks_to_three_and_back_prompts_begin_with_what_the_hosts_have(
    start: Start, expected: dict[int, str]
) -> None:
    two = start([3, 2])
    assert two.ask(1) == (expected[1], 0)
    two.written(3)
    two.stop()

    three = start([2, 1, 2])
    assert three.ask(1) == (expected[1], HELD)
    # Rank 0 has layers 3 and 4 in its file of 2 to 4; rank 1 lacks layer 2, rank 2 all.
    for rank, brought in ((0, 0), (1, 3), (2, 3)):
        three.wait(rank, lambda used, brought=brought: used.disk_blocks >= 3 and used.brought == brought)
    assert three.kept(2).brought_bytes > 0 and three.kept(0).missed == 0
    assert any("3 of 3 blocks came from other hosts" in text for text in three.said())
    three.stop()

    other = start([4, 1])  # rank 0 lacks layer 1, which only rank 1 has
    assert other.ask(1) == (expected[1], HELD)
    other.wait(0, lambda used: used.brought == 3)
    other.stop()


def test_a_damaged_file_of_another_host_is_not_served_and_dearer_moves_are_not_made(
    start: Start, expected: dict[int, str]
) -> None:
    two = start([3, 2])
    for seed in SEEDS:
        assert two.ask(seed) == (expected[seed], 0)
    two.written(6)
    files = two.agents.run(1).glob("prefix/*/*.safetensors")
    (first, *_) = sorted(files, key=lambda path: path.stat().st_mtime)
    two.stop()
    damaged = bytearray(first.read_bytes())
    damaged[-3] ^= 1
    first.write_bytes(damaged)

    three = start([2, 1, 2])
    assert three.ask(1) == (expected[1], 0), "the first block is damaged: all is computed"
    three.wait(2, lambda used: used.damaged == 1)
    # The ring has seen by now how fast it reads prompts: faster than files come.
    assert three.ask(2) == (expected[2], 0)
    assert any(text.startswith("computing 192 tokens") for text in three.said())
    three.stop()


def test_a_disk_that_goes_silent_costs_the_time_out_and_the_ring_still_ends(
    start: Start, expected: dict[int, str]
) -> None:
    two = start([3, 2])
    assert two.ask(1) == (expected[1], 0)
    two.written(3)
    two.stop()
    three = start([2, 1, 2])
    for path in three.agents.run(1).glob("prefix/*/*.safetensors"):
        path.unlink()
        os.mkfifo(path)  # whoever reads it waits for ever
    began = time.monotonic()
    assert three.ask(1) == (expected[1], 0)
    assert time.monotonic() - began < 15
    assert any(text.endswith("were not enough") for text in three.said())
    three.wait(0, lambda used: used.missed == 3)
    three.stop()


async def test_a_connection_for_blocks_that_nobody_asked_for_is_closed_and_the_ring_goes_on(
    start: Start, expected: dict[int, str]
) -> None:
    ring = start([3, 2])
    agents = ring.agents
    for rank in (1, 5):  # a member that is here, and one that there is not
        reader, writer = await asyncio.open_connection("127.0.0.1", agents.control_port)
        link = await peer_link.greet(reader, writer, b"s" * 32, from_leader)
        link.send(
            Present(rank=rank, run_id="run0", digest=agents.plan.digest, version=__version__, blocks=True)
        )
        with pytest.raises(ConnectionError, match="closed"):
            await link.receive()
        link.cut()
    assert await asyncio.to_thread(ring.ask, 1) == (expected[1], 0)
    until(lambda: any("is none of this ring" in text for text in ring.said()), "the refusal in the log", 10)
    await asyncio.to_thread(ring.stop)
