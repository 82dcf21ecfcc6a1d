"""The leader's decisions, from plain values: order of the phases, limits, and the root of several causes."""

import pytest

from ringcore.agent import ring
from ringcore.agent.ring import End, JoinRanks, Phase, RingControl, StartRanks, root
from ringcore.spec.deployment import Member
from ringcore.spec.errors import Failure
from ringcore.spec.events import RankChanged, RankPhase, StepCount


def control(ranks: int = 3) -> RingControl:
    members = [Member(rank=n, host=f"h{n}", address=f"10.0.0.{n}", link_port=9) for n in range(ranks)]
    return RingControl(members, 0.0)


def say(ring: RingControl, phase: RankPhase, now: float, *ranks: int) -> list[ring.Order]:
    orders: list[ring.Order] = []
    for rank in ranks:
        orders += ring.rank_said(RankChanged(rank=rank, phase=phase), now)
    return orders


def serving() -> RingControl:
    made = control()
    made.present(1, 1)
    made.present(2, 1)
    say(made, "loaded", 2, 0, 1, 2)
    say(made, "ready", 3, 0, 1, 2)
    assert made.gateway_ready(3) == [Phase("serving")]
    return made


def overdue(made: RingControl) -> Failure:
    at = made.next_tick
    assert made.tick(at - 0.01) == []
    (end,) = made.tick(at)
    assert isinstance(end, End) and end.failure is not None and end.failure.remedy
    assert made.tick(at + 100) == []
    return end.failure


def cause(text: str, rank: int, blames: int | None = None) -> Failure:
    return Failure(cause=text, remedy="look", host=f"h{rank}", rank=rank, blames=blames)


def test_ranks_start_when_every_agent_is_there_and_join_when_every_rank_has_loaded() -> None:
    made = control()
    assert made.begin(0) == []
    assert made.present(2, 1) == []
    assert made.present(1, 2) == [Phase("loading"), StartRanks()]
    assert say(made, "loaded", 3, 1, 0) == []
    assert say(made, "loaded", 4, 2) == [Phase("joining"), JoinRanks()]
    assert say(made, "ready", 5, 0, 1, 2) == []
    assert made.gateway_ready(6) == [Phase("serving")]


def test_the_gateway_may_be_ready_before_the_ranks() -> None:
    made = control(1)
    assert made.begin(0) == [Phase("loading"), StartRanks()]
    assert made.gateway_ready(1) == []
    say(made, "loaded", 2, 0)
    assert say(made, "ready", 3, 0) == [Phase("serving")]


def test_an_agent_that_never_comes_is_named() -> None:
    made = control()
    made.present(1, 1)
    failure = overdue(made)
    assert (failure.host, failure.rank, failure.exit_code) == ("h2", 2, 6)
    assert "10.0.0.0" in failure.cause


def test_a_rank_that_shows_no_progress_while_loading_is_named() -> None:
    made = control()
    made.present(1, 1)
    made.present(2, 1)
    for now in range(10, 400, 10):
        for rank in (0, 2):
            made.rank_said(RankChanged(rank=rank, phase="loading", progress=now / 400), now)
        if made.next_tick <= now:
            break
        assert made.tick(now) == []
    assert overdue(made).rank == 1


def test_a_rank_that_does_not_join_is_named_and_then_the_gateway() -> None:
    made = control()
    made.present(1, 1)
    made.present(2, 1)
    say(made, "loaded", 2, 0, 1, 2)
    say(made, "ready", 3, 0, 1)
    assert made.next_tick == 2 + ring.JOIN_SECONDS
    say(made, "ready", 4, 2)
    assert "gateway" in overdue(made).cause


def test_a_serving_ring_without_requests_may_rest_for_ever() -> None:
    made = serving()
    assert made.next_tick == float("inf")
    made.requests(1, 1000)
    assert made.next_tick == 1000 + ring.STANDSTILL_SECONDS
    made.requests(0, 1001)
    assert made.next_tick == float("inf")


def test_requests_without_a_step_are_a_standstill_of_the_rank_with_the_fewest_steps() -> None:
    made = serving()
    made.requests(1, 10)
    for rank, steps in ((0, 7), (1, 9), (2, 8)):
        made.rank_said(StepCount(rank=rank, steps=steps), 20)
    made.rank_said(StepCount(rank=0, steps=7), 70)  # the same count again is no step
    made.requests(2, 75)
    assert made.next_tick == 20 + ring.STANDSTILL_SECONDS
    failure = overdue(made)
    assert failure.rank == 0
    assert "2 requests" in failure.cause


def test_a_killed_rank_is_the_root_though_its_neighbours_speak_first() -> None:
    made = serving()
    made.failed(cause("link broke", 0, blames=1), 10)
    made.failed(cause("link broke", 2, blames=1), 10.1)
    assert made.tick(10.2) == []
    made.failed(cause("signal 9", 1), 10.3)
    assert made.next_tick == pytest.approx(10.3 + ring.GATHER_SECONDS)
    assert overdue(made).cause == "signal 9"
    assert made.phase == "failed"


def test_a_rank_that_only_accuses_is_the_root_when_nobody_else_speaks() -> None:
    made = serving()
    made.failed(cause("no byte from rank 1", 0, blames=1), 10)
    assert made.next_tick == pytest.approx(10 + ring.GATHER_ACCUSATIONS_SECONDS)
    assert overdue(made).cause == "no byte from rank 1"


def test_of_several_own_causes_the_accused_ranks_counts_else_the_first() -> None:
    first, second = cause("its agent is gone", 2), cause("signal 9", 1)
    assert root([first, second]) is first
    assert root([first, cause("link broke", 0, blames=1), second]) is second


def test_causes_after_the_end_change_nothing() -> None:
    made = serving()
    assert made.stop() == [Phase("stopping"), End()]
    made.failed(cause("signal 15", 1), 10)
    assert made.stop() == []
    assert made.tick(1000) == []
    assert made.failure is None


def test_a_ring_that_is_failing_does_not_go_on_to_the_next_phase() -> None:
    made = control()
    made.present(1, 1)
    made.present(2, 1)
    made.failed(cause("disk", 1), 2)
    assert say(made, "loaded", 2.1, 0, 1, 2) == []
