"""Sequences that decode together answer as alone, whoever joins or leaves and however they are regrouped."""

import random
from pathlib import Path

import mlx.core as mx
import msgspec
import pytest
from mlx_lm.models.cache import KVCache

from ringcore.cache.batches import Batches, can_merge
from ringcore.engine.step import Operation, Row, Step
from ringcore.models.stage import ModelStage
from ringcore.rank.executor import Executor
from ringcore.rank.link import Message
from ringcore.spec.engine import Sampling
from tests.models.running import load
from tests.models.small import VOCABULARY, build

LAYERS = 5
LENGTHS = (3, 30, 11, 1, 23, 17)
COUNT = 24


def prompt(number: int) -> list[int]:
    return [(37 * i * (number + 1) + 11 * number + 3) % VOCABULARY for i in range(LENGTHS[number])]


def alone(stages: list[ModelStage], number: int) -> list[int]:
    """The greedy answer of one sequence by itself, its prompt in one piece."""
    executors = [Executor(stage) for stage in stages]
    table = Table(executors)
    table.open(number)
    while len(table.answers[number]) < COUNT:
        table.decode((number,))
    return table.answers[number]


class Table:
    """Plays the leader: slots are the sequences' numbers."""

    def __init__(self, executors: list[Executor]) -> None:
        self.executors = executors
        self.answers: dict[int, list[int]] = {}
        self._number = 0

    def run(
        self, operation: Operation, rows: tuple[Row, ...], tokens: tuple[int, ...] = (), payload: bytes = b""
    ) -> Step:
        self._number += 1
        message = Message(Step(operation, rows, tokens, payload, self._number))
        for executor in self.executors:
            message = executor.perform(message)
        return message.step

    def open(self, number: int) -> None:
        tokens = prompt(number)
        self.run(Operation.OPEN, (Row(number),), payload=msgspec.json.encode(Sampling()))
        row = Row(number, len(tokens), 0, True, tokens[0] if len(tokens) == 1 else -1)
        self.answers[number] = [self.run(Operation.RUN, (row,), tuple(tokens)).rows[0].token]

    def decode(self, numbers: tuple[int, ...]) -> None:
        rows = tuple(
            Row(n, 1, LENGTHS[n] + len(self.answers[n]) - 1, True, self.answers[n][-1]) for n in numbers
        )
        for number, row in zip(numbers, self.run(Operation.RUN, rows).rows, strict=True):
            self.answers[number].append(row.token)

    def drop(self, number: int) -> None:
        self.run(Operation.DROP, (Row(number),))


@pytest.mark.parametrize(
    "architecture",
    ["llama", "qwen3", "qwen3_moe", "deepseek_v2", "deepseek_v3", "mixtral", "gemma3_text", "qwen3_next"],
)
def test_any_history_of_joining_leaving_and_regrouping_changes_no_token(
    architecture: str, tmp_path: Path
) -> None:
    stages = load(build(architecture, tmp_path / "model", layers=LAYERS), 0, 2, 5)
    expected = {number: alone(stages, number) for number in range(len(LENGTHS))}
    chance = random.Random(5)
    table = Table([Executor(stage) for stage in stages])
    waiting, there = list(range(len(LENGTHS))), []
    while waiting or there:
        if waiting and (len(there) < 2 or chance.random() < 0.3):
            there.append(waiting.pop(0))
            table.open(there[-1])
        chosen = tuple(chance.sample(there, chance.randint(1, len(there))))
        table.decode(chosen)
        for number in [n for n in there if len(table.answers[n]) >= COUNT]:
            there.remove(number)
            table.drop(number)
    for number, answer in table.answers.items():
        assert answer[:COUNT] == expected[number], number
    assert all(executor.kv_bytes == 0 and executor.slots == 0 for executor in table.executors)


@pytest.mark.parametrize("architecture", ["llama", "gemma3_text", "qwen3_next", "falcon_h1", "baichuan_m1"])
def test_sequences_that_join_a_batch_and_leave_it_answer_as_alone(architecture: str, tmp_path: Path) -> None:
    stages = load(build(architecture, tmp_path / "model", layers=LAYERS), 0, 2, 5)
    expected = {number: alone(stages, number) for number in range(4)}
    table = Table([Executor(stage) for stage in stages])
    for number in range(4):
        table.open(number)
    for members, steps in (((0, 1), 3), ((0, 1, 2), 9), ((0, 1, 2, 3), 4), ((0, 2, 3), 7)):
        for gone in set(range(max(members))) - set(members):
            table.drop(gone)
        for _ in range(steps):
            table.decode(members)
    for number, answer in table.answers.items():
        assert answer[:COUNT] == expected[number][: len(answer)], number


def test_a_batch_takes_in_a_sequence_without_being_taken_apart(tmp_path: Path) -> None:
    (stage,) = load(build("llama", tmp_path / "model", layers=LAYERS), 0, 5)
    caches = Batches()
    for slot in (0, 1, 2):
        cache = stage.make_cache()
        mx.eval(stage(mx.array([[5, 6, slot]]), cache))
        caches.open(slot, cache)
    together = caches.several((2, 0))
    assert caches.several((2, 0, 1)) is together
    assert together[0].offset.tolist() == [3, 3, 3]


def test_a_batch_keeps_its_cache_while_its_members_stay(tmp_path: Path) -> None:
    (stage,) = load(build("llama", tmp_path / "model", layers=LAYERS), 0, 5)
    caches = Batches()
    for slot in (0, 1, 2):
        cache = stage.make_cache()
        mx.eval(stage(mx.array([[5, 6, slot]]), cache))
        caches.open(slot, cache)
    together = caches.several((2, 0))
    assert caches.several((2, 0)) is together
    caches.drop(1)
    assert caches.several((2, 0)) is together
    caches.drop(2)
    assert len(caches.one(0)) == LAYERS
    caches.drop(0)
    assert caches.nbytes == 0


def test_caches_that_cannot_be_merged_are_known_by_their_kind() -> None:
    class Plain:
        pass

    assert not can_merge([Plain()])


def test_taking_a_batch_apart_never_holds_it_twice() -> None:
    rows, layers = 4, 16
    batches = Batches()
    for slot in range(rows):
        cache = [KVCache() for _ in range(layers)]
        for entry in cache:
            entry.update_and_fetch(mx.ones((1, 4, 256, 64)), mx.ones((1, 4, 256, 64)))
        mx.eval([entry.state for entry in cache])
        batches.open(slot, cache)
    batches.several(tuple(range(rows)))
    held = batches.nbytes
    mx.reset_peak_memory()
    before = mx.get_active_memory()
    batches.one(2)
    assert batches.nbytes == held
    assert mx.get_peak_memory() - before < 3 * held / layers
