"""Blocks from disk give what computing gives: after a restart, after the layers moved, never from a damaged
file."""

import shutil
from pathlib import Path

import mlx.core as mx
import pytest

from ringcore.engine.prefix import PrefixIndex
from ringcore.engine.prefix_steps import FETCH_BLOCKS
from ringcore.planning import architectures
from ringcore.planning.prefix import BLOCK_TOKENS
from tests.models.in_process import InProcess
from tests.models.running import load
from tests.models.small import build
from tests.models.test_prefix import prompt

LAYERS = 5
PROMPT = prompt(3 * BLOCK_TOKENS + 7)
HELD = 3 * BLOCK_TOKENS


def folders(tmp_path: Path, count: int) -> list[Path]:
    return [tmp_path / f"host{number}" for number in range(count)]


@pytest.mark.parametrize("name", ["llama", "deepseek_v3", "gpt_oss", "qwen3_next", "longcat_flash_ngram"])
def test_after_a_restart_the_ring_begins_where_it_was(name: str, tmp_path: Path) -> None:
    stages = load(build(name, tmp_path / "model"), 0, 2, LAYERS)
    cold = InProcess(stages).answer("cold", PROMPT, 20)
    first = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    assert first.answer("a", PROMPT, 20) == cold
    first.settle()
    again = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    assert (again.answer("b", PROMPT, 20), again.cached("b")) == (cold, HELD)
    assert (again.answer("c", PROMPT, 20), again.cached("c")) == (cold, HELD)  # from memory now
    assert [step.operation.name for step in again.steps].count("FETCH") == 1
    assert again.engine.idle and not again.warnings


def test_keys_in_bfloat16_come_back_bit_for_bit(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, LAYERS, dtype="bfloat16")
    tokens = PROMPT[: BLOCK_TOKENS + 1]
    first = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 1))
    first.answer("a", tokens, 2)
    first.settle()
    again = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 1))
    again.answer("a", tokens, 2)
    assert again.cached("a") == BLOCK_TOKENS
    blocks = [ring.executors[0].blocks.block(0) for ring in (first, again)]
    for before, after in zip(*blocks, strict=True):
        for one, other in zip(before, after, strict=True):
            assert one.dtype == other.dtype == mx.bfloat16
            assert mx.array_equal(one, other)


def after_a_new_split_each_stage_takes_what_is_its_own(name: str, tmp_path: Path) -> None:
    """Two stages, three, two: every host has the files of all."""
    model = build(name, tmp_path / "model")
    two, three = load(model, 0, 2, LAYERS), load(model, 0, 1, 3, LAYERS)
    first = InProcess(two, prefix_blocks=8, folders=folders(tmp_path, 2))
    cold = first.answer("a", PROMPT, 20)
    first.settle()
    shutil.copytree(tmp_path / "host0", tmp_path / "host2")
    for one, other in ((0, 1), (1, 0), (1, 2)):
        shutil.copytree(tmp_path / f"host{one}", tmp_path / f"host{other}", dirs_exist_ok=True)
    for stages in (three, two, load(model, 0, LAYERS)):
        ring = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, len(stages)))
        assert (ring.answer("a", PROMPT, 20), ring.cached("a")) == (cold, HELD)


def test_after_a_new_split_each_stage_takes_what_is_its_own(tmp_path: Path) -> None:
    after_a_new_split_each_stage_takes_what_is_its_own("llama", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_after_a_new_split_every_architecture_answers_from_files(name: str, tmp_path: Path) -> None:
    after_a_new_split_each_stage_takes_what_is_its_own(name, tmp_path)


def test_a_stage_whose_host_lacks_layers_computes(tmp_path: Path) -> None:
    model = build("llama", tmp_path / "model")
    first = InProcess(load(model, 0, 2, LAYERS), prefix_blocks=8, folders=folders(tmp_path, 2))
    cold = first.answer("a", PROMPT, 20)
    first.settle()
    ring = InProcess(load(model, 0, 3, LAYERS), prefix_blocks=8, folders=folders(tmp_path, 2))
    assert (ring.answer("a", PROMPT, 20), ring.cached("a")) == (cold, 0)
    ring.settle()
    again = InProcess(load(model, 0, 3, LAYERS), prefix_blocks=8, folders=folders(tmp_path, 2))
    assert (again.answer("a", PROMPT, 20), again.cached("a")) == (cold, HELD)


@pytest.mark.parametrize("stage", [0, 1])
def test_as_much_is_used_as_every_stage_can_read(stage: int, tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, 2, LAYERS)
    first = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    cold = first.answer("a", PROMPT, 20)
    first.settle()
    second = PrefixIndex(8, BLOCK_TOKENS, b"").begin(PROMPT).names[1]
    (damaged,) = folders(tmp_path, 2)[stage].rglob(f"{second.hex()}.*")
    damaged.write_bytes(damaged.read_bytes()[:-40])
    again = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    assert (again.answer("a", PROMPT, 20), again.cached("a")) == (cold, BLOCK_TOKENS)
    assert again.disks[stage].figures[2] == 1
    again.settle()  # it is written anew
    third = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    assert (third.answer("a", PROMPT, 20), third.cached("a")) == (cold, HELD)


def test_a_sequence_cancelled_while_its_blocks_come_leaves_nothing_in_use(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, 2, LAYERS)
    first = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    cold = first.answer("a", PROMPT, 20)
    first.settle()
    again = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    again.submit("gone", PROMPT, 20)
    again.turn()
    again.engine.cancel("gone")
    again.run()
    assert again.finished("gone") and again.engine.idle
    assert again.engine.forget(8) == 3
    again.run()
    assert [len(executor.blocks) for executor in again.executors] == [0, 0]
    assert (again.answer("b", PROMPT, 20), again.cached("b")) == (cold, HELD)


def test_a_long_prompt_comes_from_disk_in_parts_so_that_others_go_on_meanwhile(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, LAYERS)
    tokens = prompt((FETCH_BLOCKS + 2) * BLOCK_TOKENS + 1)
    first = InProcess(stages, prefix_blocks=32, folders=folders(tmp_path, 1))
    cold = first.answer("a", tokens, 4)
    first.settle()
    again = InProcess(stages, prefix_blocks=32, folders=folders(tmp_path, 1))
    assert (again.answer("b", tokens, 4), again.cached("b")) == (cold, len(tokens) - 1)
    assert [step.operation.name for step in again.steps].count("FETCH") == 2


def test_a_disk_that_takes_no_more_is_told_once_and_the_ring_goes_on(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, LAYERS)
    ring, cold = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 1)), InProcess(stages)
    shutil.rmtree(tmp_path / "host0")
    for number in range(3):
        tokens = prompt(BLOCK_TOKENS + 9, number)
        assert ring.answer(str(number), tokens, 5) == cold.answer(str(number), tokens, 5)
    ring.settle()
    assert len(ring.warnings) == 1 and "no longer written to disk" in ring.warnings[0]


def test_cleared_keeps_nothing_in_memory_or_in_files_but_what_runs(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, 2, LAYERS)
    ring = InProcess(stages, prefix_blocks=8, folders=folders(tmp_path, 2))
    cold = ring.answer("a", PROMPT, 20)
    ring.answer("other", prompt(2 * BLOCK_TOKENS + 1, 2), 4)
    ring.submit("runs", PROMPT, 20)
    for _ in range(4):
        ring.turn()
    ring.engine.clear()
    ring.run()
    ring.settle()
    assert ring.tokens("runs") == cold
    assert [len(executor.blocks) for executor in ring.executors] == [3, 3]
    assert [disk.figures[:2] for disk in ring.disks] == [(0, 0), (0, 0)]
    ring.engine.clear()
    ring.run()
    assert (ring.answer("b", PROMPT, 20), ring.cached("b")) == (cold, 0)
