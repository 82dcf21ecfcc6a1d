"""What a rank tells of its work: often enough, not too often, and with numbers that add up."""

from types import SimpleNamespace

import mlx.core as mx
import pytest
from msgspec import Struct

from ringcore.cache.blocks import Blocks
from ringcore.rank import report as module
from ringcore.rank.executor import Executor
from ringcore.rank.report import MEMORY_SECONDS, STEPS_SECONDS, Report
from ringcore.spec.events import MemoryUsed, StepCount
from ringcore.spec.shard import Shard
from tests.ring.fake_rank import FakeStage


class Agent:
    rank = 2

    def __init__(self) -> None:
        self.messages: list[Struct] = []

    def send(self, message: Struct) -> None:
        self.messages.append(message)

    def of(self, kind: type) -> list:
        return [message for message in self.messages if isinstance(message, kind)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    now.monotonic = lambda: now.seconds
    monkeypatch.setattr(module, "time", now)
    return now


@pytest.fixture
def work() -> SimpleNamespace:
    return SimpleNamespace(kv_bytes=0, busy=0.0, tokens=0, prefix_used=Blocks().used)


@pytest.fixture
def agent() -> Agent:
    return Agent()


def test_steps_are_told_at_most_four_times_a_second(agent: Agent, work, clock) -> None:
    report = Report(agent, work, 0)
    for _ in range(1000):
        clock.seconds += 0.01
        report.stepped(in_flight=3, waited=0.5)
    counts = agent.of(StepCount)
    assert 9.9 / STEPS_SECONDS - 3 <= len(counts) <= 10 / STEPS_SECONDS + 1
    assert counts[-1].steps <= 1000
    assert [count.steps for count in counts] == sorted(count.steps for count in counts)
    assert (counts[-1].rank, counts[-1].in_flight, counts[-1].link_seconds) == (2, 3, 0.5)
    assert 10 / MEMORY_SECONDS - 2 <= len(agent.of(MemoryUsed)) <= 10 / MEMORY_SECONDS + 1


def test_at_rest_the_last_figures_are_told_once(agent: Agent, work, clock) -> None:
    report = Report(agent, work, 0)
    report.stepped(in_flight=1)
    report.stepped(in_flight=0)
    work.tokens, work.busy = 7, 1.5
    report.rest(waited=2.5)
    (_, last) = agent.of(StepCount)
    assert last == StepCount(rank=2, steps=2, tokens=7, in_flight=0, busy_seconds=1.5, link_seconds=2.5)
    said = len(agent.messages)
    report.rest(waited=2.5)
    assert len(agent.messages) == said


def test_at_rest_memory_is_told_even_when_the_last_step_was_told_already(agent: Agent, work, clock) -> None:
    report = Report(agent, work, 0)
    report.stepped()
    clock.seconds += STEPS_SECONDS
    work.kv_bytes = 5
    report.stepped()
    assert [used.kv_bytes for used in agent.of(MemoryUsed)] == [0]
    report.rest()
    report.rest()
    assert [used.kv_bytes for used in agent.of(MemoryUsed)] == [0, 5]
    assert len(agent.of(StepCount)) == 2


def test_memory_is_told_apart_into_weights_caches_and_the_rest(agent: Agent, work, clock) -> None:
    weights, cache, scratch = mx.zeros((1 << 20,)), mx.zeros((1 << 18,)), mx.zeros((1 << 19,))
    mx.eval(weights, cache, scratch)
    work.kv_bytes = cache.nbytes
    held = mx.get_active_memory() + mx.get_cache_memory()
    Report(agent, work, weights.nbytes).memory()
    (used,) = agent.of(MemoryUsed)
    assert (used.weight_bytes, used.kv_bytes) == (weights.nbytes, cache.nbytes)
    assert used.workspace_bytes >= scratch.nbytes
    assert used.weight_bytes + used.kv_bytes + used.workspace_bytes == held
    assert used.resident_bytes > 0
    assert used.available_bytes > 0


def test_caches_of_which_nothing_is_kept_are_told_with_the_memory(agent: Agent, work, clock) -> None:
    Report(agent, work, 0).memory()
    work.prefix_used = Executor(FakeStage(Shard(0, 1, 1))).prefix_used
    Report(agent, work, 0).memory()
    before, after = agent.of(MemoryUsed)
    assert before.prefix is None
    assert after.prefix is not None and after.prefix.uncached == ("SumCache",)
