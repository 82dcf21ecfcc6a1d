"""Requests side by side on real rings: each is answered as if it were alone, or refused with the numbers."""

from collections.abc import Iterator

import pytest

from ringcore.spec.engine import Cancel, Finished, Refused, Started, Token
from tests.ring.alone import alone, prompt
from tests.ring.fake_rank import VOCABULARY
from tests.ring.harness import Ring, make_plan, until

LAYERS = 4
CONTEXT = 600
QUEUE = 64
SAMPLING = {"temperature": 0.9, "top_p": 0.95, "top_k": 40, "seed": 1234}


@pytest.fixture(
    scope="module",
    params=[([1, 2, 1], "reverse", 0), ([2, 2], "reverse", 50)],
    ids=["three", "shared head"],
)
def ring(request: pytest.FixtureRequest) -> Iterator[Ring]:
    """Three sequences."""
    counts, order, head_rows = request.param
    with Ring(make_plan(counts, order=order, sequences=3, context=CONTEXT, head_rows=head_rows)) as found:
        yield found


def holds_nothing(ring: Ring) -> bool:
    return all(rank.memory[-1].kv_bytes == 0 for rank in ring.ranks)


@pytest.mark.parametrize(
    ("counts", "order", "head_rows"),
    [([2, 1, 1], "reverse", 0), ([2, 1, 1], "forward", 0), ([2, 2], "reverse", 50), ([3, 1], "forward", 40)],
)
def test_more_requests_than_sequences_are_each_answered_as_alone(
    counts: list[int], order: str, head_rows: int
) -> None:
    lengths = [1, 70, 16, 3, 200, 33, 17, 2]
    with Ring(make_plan(counts, order=order, sequences=3, head_rows=head_rows)) as ring:
        for number, length in enumerate(lengths):
            ring.submit(str(number), prompt(length, number), 5 + number)
        for number, length in enumerate(lengths):
            assert ring.finished(str(number)).completion_tokens == 5 + number
            assert ring.tokens(str(number)) == alone(LAYERS, prompt(length, number), 5 + number)
        started = [message.id for message in ring.messages(Started)]
        assert started == [str(number) for number in range(len(lengths))], "first come, first served"
        ring.wait(lambda: holds_nothing(ring), "empty caches on every rank")


def test_a_ring_of_one_answers_side_by_side_too() -> None:
    with Ring(make_plan([LAYERS], sequences=2)) as ring:
        for number in range(5):
            ring.submit(str(number), prompt(10 * number + 1, number), 20)
        for number in range(5):
            ring.finished(str(number))
            assert ring.tokens(str(number)) == alone(LAYERS, prompt(10 * number + 1, number), 20)


def test_an_answer_goes_on_while_a_long_prompt_is_read(ring: Ring) -> None:
    ring.submit("talks", prompt(3), 100)
    ring.wait(lambda: ring.tokens("talks"), "the first token")
    ring.submit("reads", prompt(500), 1)
    ring.finished("reads")
    order = [message.id for message in ring.messages(Token) if message.id in ("talks", "reads")]
    # With three stages a token waits behind three chunks at most; the prompt has 32.
    assert order.index("reads") >= 32 / (3 + 1)
    ring.finished("talks")
    assert ring.tokens("talks") == alone(LAYERS, prompt(3), 100)


def test_a_cancel_ends_the_tokens_within_a_turn_and_frees_every_rank(ring: Ring) -> None:
    ring.submit("goes", prompt(40), 500)
    ring.wait(lambda: len(ring.tokens("goes")) > 5, "some tokens")
    before = len(ring.tokens("goes"))
    ring.send(Cancel(id="goes"))
    ended = ring.finished("goes")
    assert ended.reason == "cancelled"
    assert before <= ended.completion_tokens == len(ring.tokens("goes")) < 400
    assert ring.answer("next", prompt(9), 12) == alone(LAYERS, prompt(9), 12)
    ring.wait(lambda: holds_nothing(ring), "empty caches on every rank")
    assert len(ring.messages(Finished, "goes")) == 1


def test_a_cancel_while_the_prompt_is_read_frees_every_rank(ring: Ring) -> None:
    ring.submit("long", prompt(550), 10)
    ring.wait(lambda: ring.messages(Started, "long"), "the start")
    ring.send(Cancel(id="long"))
    assert ring.finished("long").completion_tokens == 0
    assert ring.answer("after", prompt(20), 12) == alone(LAYERS, prompt(20), 12)
    ring.wait(lambda: holds_nothing(ring), "empty caches on every rank")


def test_slots_of_cancelled_requests_go_to_those_that_wait(ring: Ring) -> None:
    for number in range(3):
        ring.submit(f"holder{number}", prompt(5, number), 550)
    ring.submit("waits", prompt(8), 10)
    ring.submit("gives up", prompt(8), 10)
    ring.wait(lambda: all(ring.tokens(f"holder{number}") for number in range(3)), "all three running")
    assert not ring.messages(Started, "waits")
    ring.send(Cancel(id="gives up"))
    assert ring.finished("gives up").completion_tokens == 0
    for number in range(3):
        ring.send(Cancel(id=f"holder{number}"))
    ring.finished("waits")
    assert ring.tokens("waits") == alone(LAYERS, prompt(8), 10)
    assert not ring.messages(Started, "gives up")


def test_a_stop_token_ends_the_answer_and_is_not_sent(ring: Ring) -> None:
    expected = alone(LAYERS, prompt(6), 30)
    stop = expected[11]
    ring.submit("stops", prompt(6), 30, stop=[stop])
    assert ring.finished("stops").reason == "stop"
    assert ring.tokens("stops") == expected[: expected.index(stop)]


def test_no_tokens_at_most_are_an_answer_at_once(ring: Ring) -> None:
    ring.submit("none", prompt(6), 0)
    assert ring.finished("none") == Finished(id="none", reason="length", completion_tokens=0)


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "numbers"),
    [
        ([], 5, ["at least 1 token"]),
        ([1] * 500, 101, ["500", "101", "601", "600"]),
        ([1, VOCABULARY], 5, [str(VOCABULARY)]),
        ([1, -1], 5, ["-1", str(VOCABULARY)]),
        ([1], -3, ["-3"]),
    ],
    ids=["empty", "context", "vocabulary", "negative id", "negative count"],
)
def test_what_can_never_run_is_refused_with_its_numbers(
    tokens: list[int], max_tokens: int, numbers: list[str], ring: Ring, request: pytest.FixtureRequest
) -> None:
    name = request.node.name
    ring.submit(name, tokens, max_tokens)
    ring.wait(lambda: ring.messages(Refused, name), "a refusal")
    (refused,) = ring.messages(Refused, name)
    assert refused.kind == "limit"
    assert all(number in refused.cause for number in numbers), refused.cause


def test_a_prompt_that_fills_the_context_is_answered(ring: Ring) -> None:
    assert ring.answer("full", prompt(CONTEXT - 2), 2) == alone(LAYERS, prompt(CONTEXT - 2), 2)


def test_a_full_queue_is_busy_and_takes_more_when_it_is_shorter(ring: Ring) -> None:
    names = [f"queued{number}" for number in range(3 + QUEUE + 1)]
    for name in names[:3]:
        ring.submit(name, prompt(2), 590)
    ring.wait(lambda: all(ring.tokens(name) for name in names[:3]), "all three running")
    for name in names[3:]:
        ring.submit(name, prompt(2), 1)
    ring.wait(lambda: ring.messages(Refused, names[-1]), "a refusal")
    (refused,) = ring.messages(Refused, names[-1])
    assert refused.kind == "busy"
    assert str(QUEUE) in refused.cause
    for name in names[:-1]:
        ring.send(Cancel(id=name))
    for name in names[:-1]:
        ring.finished(name)
    assert ring.answer("again", prompt(5), 3) == alone(LAYERS, prompt(5), 3)


def test_an_id_that_is_in_use_is_refused_and_the_first_goes_on(ring: Ring) -> None:
    ring.submit("twice", prompt(4), 60)
    ring.submit("twice", prompt(5), 60)
    ring.finished("twice")
    assert len(ring.messages(Refused, "twice")) == 1
    assert ring.tokens("twice") == alone(LAYERS, prompt(4), 60)


def test_a_seeded_request_draws_the_same_alone_and_beside_others(ring: Ring) -> None:
    expected = alone(LAYERS, prompt(20), 30, **SAMPLING)
    assert expected != alone(LAYERS, prompt(20), 30, **{**SAMPLING, "seed": 1235})
    assert ring.answer("seeded alone", prompt(20), 30, **SAMPLING) == expected
    for number in range(4):
        ring.submit(f"beside{number}", prompt(10 + 9 * number, number), 40, temperature=1.2)
    assert ring.answer("seeded beside", prompt(20), 30, **SAMPLING) == expected
    for number in range(4):
        ring.finished(f"beside{number}")


@pytest.mark.parametrize(
    ("counts", "order"), [([4], "reverse"), ([1, 3], "forward"), ([2, 2], "reverse"), ([1, 1, 2], "forward")]
)
def test_a_seeded_request_draws_the_same_on_any_number_of_ranks(counts: list[int], order: str) -> None:
    with Ring(make_plan(counts, order=order)) as ring:
        assert ring.answer("a", prompt(20), 30, **SAMPLING) == alone(LAYERS, prompt(20), 30, **SAMPLING)


def test_without_a_seed_two_answers_differ(ring: Ring) -> None:
    first, second = (ring.answer(f"unseeded{number}", prompt(20), 30, temperature=1.5) for number in range(2))
    assert first != second


def test_every_rank_counts_the_steps_and_the_leader_what_is_in_flight(ring: Ring) -> None:
    before = ring.ranks[0].steps[-1].steps
    ring.answer("counted", prompt(30), 400)
    until(lambda: all(rank.steps[-1].steps > before + 400 for rank in ring.ranks), "the steps")
    until(lambda: all(rank.steps[-1].in_flight == 0 for rank in ring.ranks), "nothing in flight")
    until(lambda: len({rank.steps[-1].steps for rank in ring.ranks}) == 1, "one count on every rank")
    until(lambda: len({rank.steps[-1].tokens for rank in ring.ranks}) == 1, "one token count on every rank")
    assert all(rank.steps[-1].busy_seconds > 0 for rank in ring.ranks)
    assert any(count.in_flight for count in ring.ranks[0].steps)
