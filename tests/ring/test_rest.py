"""A ring without work rests, wakes whenever work comes, and outlives its gateway."""

import random
import time

import pytest
from msgspec import structs

from ringcore.rank.leader import REST_SECONDS
from ringcore.spec.engine import Finished, Ready, Refused, Started
from ringcore.spec.events import MemoryPressure
from tests.ring.alone import alone, prompt
from tests.ring.harness import Ring, make_plan, until

LAYERS = 3
MEASURE_SECONDS = 2.5
SHARE = 0.05  # of a core


def rested(ring: Ring) -> None:
    """Wait until the ring has parked after work: every rank then says its last figures."""
    ring.wait(lambda: len({rank.steps[-1].steps for rank in ring.ranks if rank.steps}) == 1, "one step count")
    ring.wait(lambda: all(rank.memory[-1].kv_bytes == 0 for rank in ring.ranks), "nothing held")


def shares(ring: Ring) -> list[float]:
    """Of a core, for each rank, over `MEASURE_SECONDS`."""
    before, began = [rank.cpu_seconds() for rank in ring.ranks], time.monotonic()
    time.sleep(MEASURE_SECONDS)
    passed = time.monotonic() - began
    return [(rank.cpu_seconds() - used) / passed for rank, used in zip(ring.ranks, before, strict=True)]


@pytest.mark.parametrize(
    ("counts", "order"),
    [
        ([1, 1, 1], "reverse"),
        pytest.param([3], "reverse", marks=pytest.mark.slow),
        pytest.param([2, 1], "forward", marks=pytest.mark.slow),
    ],
)
def test_a_ring_at_rest_costs_no_processor_with_and_without_a_gateway(counts: list[int], order: str) -> None:
    with Ring(make_plan(counts, order=order)) as ring:
        assert ring.answer("a", prompt(20), 8) == alone(LAYERS, prompt(20), 8)
        rested(ring)
        resting = shares(ring)
        assert max(resting) < SHARE, resting
        assert ring.answer("b", prompt(21), 8) == alone(LAYERS, prompt(21), 8)
        rested(ring)
        ring.close_gateway()
        alone_at_rest = shares(ring)
        assert max(alone_at_rest) < SHARE, alone_at_rest


@pytest.mark.parametrize("order", ["reverse", pytest.param("forward", marks=pytest.mark.slow)])
def test_work_that_comes_just_as_the_ring_goes_to_rest_is_answered(order: str) -> None:
    chance = random.Random(7)
    with Ring(make_plan([1, 1, 1], order=order)) as ring:
        for number in range(50):
            tokens = prompt(1 + number % 20, number)
            assert ring.answer(str(number), tokens, 3) == alone(LAYERS, tokens, 3)
            # The stimulus: from well before the ring parks to well after, close together around it.
            time.sleep(max(0.0, chance.gauss(REST_SECONDS * 1.2, REST_SECONDS / 3)))
        assert 10 < ring.wakes <= 50, "both are tried: work before the rest and after it"
        assert ring.quit() == [0, 0, 0]


@pytest.mark.slow
def test_a_prompt_that_waits_for_memory_costs_no_processor() -> None:
    with Ring(make_plan([2, 1])) as ring:
        ring.submit("a", prompt(3000), 4)
        ring.wait(lambda: ring.messages(Started, "a"), "its first chunk")
        said = ring.ranks[0].steps
        before = len(said)
        over = MemoryPressure(
            rank=1, host="host1", level="over", used_bytes=1, limit_bytes=1, source="test", over_bytes=0
        )
        ring.ranks[0].press(over)
        ring.wait(lambda: any(each.in_flight == 0 for each in said[before:]), "the ring to rest")
        waiting = shares(ring)
        assert max(waiting) < SHARE, waiting
        assert not ring.tokens("a")
        ring.ranks[0].press(structs.replace(over, level="calm"))
        ring.finished("a")
        assert ring.tokens("a") == alone(LAYERS, prompt(3000), 4)


def test_a_wake_that_nobody_asked_for_does_no_harm() -> None:
    with Ring(make_plan([1, 1, 1])) as ring:
        ring.answer("a", prompt(4), 3)
        for _ in range(5):
            for rank in ring.ranks:
                rank.wake()
            rested(ring)
            assert ring.answer(f"b{_}", prompt(5), 3) == alone(LAYERS, prompt(5), 3)


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_a_gateway_that_dies_while_answers_run_leaves_nothing_and_the_next_is_answered(order: str) -> None:
    with Ring(make_plan([1, 1, 1], order=order, sequences=2)) as ring:
        for turn in range(3):
            for number in range(4):
                ring.submit(f"{turn}-{number}", prompt(30 + number), 3000)
            ring.wait(lambda turn=turn: len(ring.tokens(f"{turn}-0")) > 3, "tokens")
            ring.close_gateway()
            ring.wait(lambda turn=turn: len(cancels(ring)) == turn + 1, "the leader noticing")
            heard = len(ring.messages(Finished))
            ring.open_gateway()
            tokens = prompt(12, turn)
            assert ring.answer(f"next{turn}", tokens, 9) == alone(LAYERS, tokens, 9)
            assert len(ring.messages(Finished)) == heard + 1, "nothing of the old requests is said to the new"
            rested(ring)
        assert len(ring.messages(Ready)) == 4
        assert not ring.messages(Refused)


def test_a_gateway_that_dies_at_rest_is_found_again() -> None:
    with Ring(make_plan([2, 1])) as ring:
        ring.answer("a", prompt(4), 3)
        for turn in range(3):
            ring.close_gateway()
            ring.open_gateway()
            assert ring.answer(f"b{turn}", prompt(4), 3) == alone(LAYERS, prompt(4), 3)


def test_a_ring_is_ready_before_its_gateway_is_there() -> None:
    with Ring(make_plan([2, 1]), join=False) as ring:
        ring.join()
        ring.open_gateway()
        assert ring.answer("a", prompt(4), 3) == alone(LAYERS, prompt(4), 3)
        (ready,) = ring.messages(Ready)
        assert (ready.epoch, ready.context, ready.sequences) == (ring.epoch, 4096, 4)


def test_a_line_that_is_no_message_is_logged_and_the_next_is_answered() -> None:
    with Ring(make_plan([2, 1])) as ring:
        ring.say(b'{"type": "dance"}\nno json\n')
        assert ring.answer("a", prompt(4), 3) == alone(LAYERS, prompt(4), 3)
        until(lambda: any("unknown" in text for text in ring.ranks[0].said), "the line in the log")


def cancels(ring: Ring) -> list[str]:
    return [text for text in ring.ranks[0].said if "the gateway is gone" in text]
