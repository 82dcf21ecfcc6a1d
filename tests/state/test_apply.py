"""The picture of the ring, reduced from events."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from console.reduce import apply
from console.state import STEPS, ClusterState, HostView, initial
from ringcore.spec.errors import Failure
from ringcore.spec.events import (
    AgentLost,
    Event,
    HostStep,
    LogLine,
    MemoryUsed,
    RankChanged,
    Recorded,
    RequestChanged,
    RingChanged,
    StepCount,
)
from tests.screen import fake

WHY = Failure(cause="it broke", remedy="mend it")


def reduced(
    *events: Event, rank: int = 0, at: float = 100.0, state: ClusterState | None = None
) -> ClusterState:
    """The picture after ``events`` of one host, a second apart."""
    state = state or initial(fake.PROFILE)
    for number, event in enumerate(events):
        record = Recorded(host=fake.NAMES[rank], seq=0, time=at + number, event=event)
        state = apply(state, record)
    return state


def host(*events: Event) -> HostView:
    return reduced(*events).hosts[0]


def count(steps: int, busy: float = 0.0, link: float = 0.0) -> StepCount:
    return StepCount(rank=0, steps=steps, busy_seconds=busy, link_seconds=link)


# where events go ----------------------------------------------------------------------------------


def test_at_first_every_host_waits_to_be_reached() -> None:
    state = initial(fake.PROFILE)
    assert [(host.rank, host.name, host.step, host.status) for host in state.hosts] == [
        (rank, name, "reach", "waiting") for rank, name in enumerate(fake.NAMES)
    ]
    assert state.ring_phase is None and state.plan is None


def test_an_event_changes_its_own_host_only() -> None:
    before = initial(fake.PROFILE)
    after = reduced(RankChanged(rank=1, phase="ready"), rank=1)
    assert (after.hosts[0], after.hosts[2]) == (before.hosts[0], before.hosts[2])
    assert after.hosts[1].phase == "ready"


def test_an_event_of_a_host_outside_the_profile_changes_nothing() -> None:
    state = initial(fake.PROFILE)
    record = Recorded(host="stranger", seq=9, time=5.0, event=RingChanged(phase="serving", epoch=3))
    assert apply(state, record) is state


def test_the_picture_that_was_given_stays_as_it_was() -> None:
    before = initial(fake.PROFILE)
    apply(before, Recorded(host="studio", seq=1, time=5.0, event=RingChanged(phase="serving", epoch=3)))
    assert before == initial(fake.PROFILE)


def test_time_never_goes_back_when_a_clock_does() -> None:
    state = reduced(LogLine(source="rank", level="INFO", text="a"), at=50.0)
    assert reduced(LogLine(source="rank", level="INFO", text="b"), at=20.0, state=state).time == 50.0


def test_log_lines_are_counted_and_not_kept() -> None:
    line = LogLine(source="rank", level="INFO", text="a")
    state = reduced(line, line)
    assert state.log_lines == 2
    assert structs.replace(state, log_lines=0, time=0.0) == initial(fake.PROFILE)


def test_the_place_in_the_journal_is_kept_and_the_consoles_own_events_do_not_move_it() -> None:
    record = Recorded(host="studio", seq=7, time=1.0, event=RankChanged(rank=0, phase="ready"))
    state = reduced(HostStep(step="reach", status="done"), state=apply(initial(fake.PROFILE), record))
    assert state.hosts[0].last_seq == 7


# the way up ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPS[:-1])
def test_a_step_of_the_way_up_shows_how_far_it_is_and_what_runs(step: str) -> None:
    event = HostStep(step=step, status="active", progress=0.5, detail="half", command="run it")  # type: ignore[arg-type]
    shown = host(event)
    assert (shown.step, shown.status, shown.progress) == (step, "active", 0.5)
    assert (shown.detail, shown.command) == ("half", "run it")


def test_a_failed_step_says_why_even_without_a_reason_of_its_own() -> None:
    assert host(HostStep(step="deploy", status="failed", failure=WHY)).failure == WHY
    unexplained = host(HostStep(step="deploy", status="failed")).failure
    assert unexplained is not None and "deploy" in unexplained.cause


def test_a_failure_stays_until_a_step_is_tried_again() -> None:
    failed = (HostStep(step="provision", status="failed", failure=WHY),)
    log = LogLine(source="agent", level="INFO", text="on we go")
    assert host(*failed, log, AgentLost()).failure == WHY
    assert host(*failed, HostStep(step="provision", status="active")).failure is None


def test_starting_again_forgets_what_the_last_rank_said() -> None:
    again = host(RankChanged(rank=0, phase="ready", pid=7), count(9), HostStep(step="start", status="active"))
    assert (again.phase, again.pid, again.steps, again.count) == (None, 0, 0, None)


def test_a_host_that_is_reached_again_keeps_its_ready_rank() -> None:
    shown = host(RankChanged(rank=0, phase="ready"), HostStep(step="facts", status="done"))
    assert (shown.step, shown.status, shown.phase) == ("running", "done", "ready")


def test_a_host_that_is_reached_again_keeps_why_its_rank_failed() -> None:
    shown = host(RankChanged(rank=0, phase="failed", failure=WHY), HostStep(step="reach", status="done"))
    assert (shown.status, shown.failure) == ("failed", WHY)


# the rank -----------------------------------------------------------------------------------------


def test_a_rank_that_loads_shows_its_progress_and_its_process() -> None:
    shown = host(
        RankChanged(rank=0, phase="starting", pid=41), RankChanged(rank=0, phase="loading", progress=0.3)
    )
    assert (shown.step, shown.status, shown.phase) == ("start", "active", "loading")
    assert (shown.phase_progress, shown.pid) == (0.3, 41)


def test_a_rank_that_is_ready_has_gone_all_the_way() -> None:
    shown = host(RankChanged(rank=0, phase="ready"))
    assert (shown.step, shown.status, shown.progress) == ("running", "done", 1.0)


def test_a_rank_that_died_holds_no_memory_and_does_no_steps() -> None:
    memory = MemoryUsed(
        rank=0, weight_bytes=1, kv_bytes=1, workspace_bytes=1, resident_bytes=1, available_bytes=1
    )
    events = (RankChanged(rank=0, phase="ready", pid=41), memory, count(1), count(5, busy=0.5))
    assert host(*events).memory == memory and host(*events).step_rate > 0
    dead = host(*events, RankChanged(rank=0, phase="failed", failure=WHY))
    assert (dead.memory, dead.pid, dead.step_rate, dead.busy_share) == (None, 0, 0.0, 0.0)
    assert dead.failure == WHY


@pytest.mark.parametrize("after", ["stopping", "stopped"])
def test_taking_down_what_failed_does_not_wipe_why(after: str) -> None:
    shown = host(
        RankChanged(rank=0, phase="failed", failure=WHY),
        RankChanged(rank=0, phase=after),  # type: ignore[arg-type]
    )
    assert (shown.status, shown.failure) == ("failed", WHY)


def test_a_rank_that_was_stopped_in_order_waits() -> None:
    shown = host(RankChanged(rank=0, phase="ready"), RankChanged(rank=0, phase="stopped"))
    assert (shown.status, shown.failure) == ("waiting", None)


# rates --------------------------------------------------------------------------------------------


def test_rates_and_shares_come_from_two_counts() -> None:
    shown = host(count(10, busy=1.0, link=2.0), count(30, busy=1.5, link=2.25))
    assert (shown.step_rate, shown.busy_share, shown.link_share) == (20.0, 0.5, 0.25)
    assert shown.steps == 30


def test_one_count_alone_says_nothing_about_rates() -> None:
    assert host(count(10, busy=1.0)).step_rate == 0.0


def test_a_counter_that_stands_still_has_no_rate() -> None:
    shown = host(count(10), count(20, busy=0.5), count(20, busy=0.5))
    assert (shown.step_rate, shown.busy_share) == (0.0, 0.0)
    assert shown.last_step_time == 101.0


def test_two_counts_far_apart_make_no_rate() -> None:
    assert reduced(count(20), at=200.0, state=reduced(count(10))).hosts[0].step_rate == 0.0


def test_a_new_epochs_smaller_counter_makes_no_negative_rate() -> None:
    shown = host(count(900, busy=90.0, link=9.0), count(4, busy=0.1, link=0.0))
    assert (shown.step_rate, shown.busy_share, shown.link_share) == (0.0, 0.0, 0.0)
    assert shown.steps == 4


@given(st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1e6), st.floats(0, 1e6)), max_size=6))
def test_shares_stay_between_none_and_all_whatever_is_counted(counts: list[tuple[int, float, float]]) -> None:
    shown = host(*(count(*values) for values in counts))
    assert shown.step_rate >= 0
    assert 0 <= shown.busy_share <= 1 and 0 <= shown.link_share <= 1


# the ring -----------------------------------------------------------------------------------------


def test_a_serving_ring_has_a_plan_and_an_address() -> None:
    state = reduced(RingChanged(phase="serving", epoch=2, plan=fake.PLAN, api_url="http://127.0.0.1:1"))
    assert (state.ring_phase, state.epoch, state.plan) == ("serving", 2, fake.PLAN)
    assert state.api_url == "http://127.0.0.1:1"


def test_hosts_stand_in_the_plans_order_and_those_it_leaves_out_behind_them() -> None:
    stages = fake.PLAN.stages
    turned = (structs.replace(stages[0], host=fake.NAMES[2]), structs.replace(stages[1], host=fake.NAMES[0]))
    state = reduced(RingChanged(phase="loading", epoch=1, plan=structs.replace(fake.PLAN, stages=turned)))
    assert [(host.rank, host.name) for host in state.hosts] == [
        (0, fake.NAMES[2]),
        (1, fake.NAMES[0]),
        (2, fake.NAMES[1]),
    ]
    state = reduced(RankChanged(rank=0, phase="ready"), rank=2, state=state)
    assert [host.phase for host in state.hosts] == ["ready", None, None]


def test_a_plan_stays_when_a_later_change_carries_none_or_an_empty_one() -> None:
    state = reduced(
        RingChanged(phase="loading", epoch=1, plan=fake.PLAN),
        RingChanged(phase="joining", epoch=1),
        RingChanged(phase="serving", epoch=1, plan=structs.replace(fake.PLAN, stages=())),
    )
    assert state.plan == fake.PLAN


def test_a_ring_that_failed_says_why_until_the_next_start() -> None:
    failed = RingChanged(phase="failed", epoch=1, failure=WHY)
    down = reduced(failed, RingChanged(phase="stopping", epoch=1), RingChanged(phase="stopped", epoch=1))
    assert down.failure == WHY
    assert reduced(RingChanged(phase="waiting", epoch=1), state=down).failure is None


@pytest.mark.parametrize("phase", ["stopped", "failed"])
def test_a_ring_that_ended_serves_no_address_no_request_and_no_speed(phase: str) -> None:
    state = reduced(
        RingChanged(phase="serving", epoch=1, api_url="http://127.0.0.1:1"),
        RequestChanged(id="r1", phase="running", first_token_seconds=0.5, tokens_per_second=9.0),
        RingChanged(phase=phase, epoch=1),  # type: ignore[arg-type]
    )
    assert (state.api_url, state.requests) == ("", ())
    assert (state.tokens_per_second, state.first_token_seconds) == (0.0, 0.0)


# requests -----------------------------------------------------------------------------------------


def test_running_requests_are_kept_and_of_those_that_ended_the_last() -> None:
    state = reduced(
        *(RequestChanged(id=id, phase="running") for id in "abcd"),
        RequestChanged(id="a", phase="done"),
        RequestChanged(id="c", phase="cancelled"),
    )
    assert [(request.id, request.phase) for request in state.requests] == [
        ("b", "running"),
        ("d", "running"),
        ("c", "cancelled"),
    ]


def test_figures_stay_when_a_request_has_none() -> None:
    state = reduced(
        RequestChanged(id="a", phase="done", first_token_seconds=0.5, tokens_per_second=9.0),
        RequestChanged(id="b", phase="queued"),
    )
    assert (state.tokens_per_second, state.first_token_seconds) == (9.0, 0.5)


# the connection -----------------------------------------------------------------------------------


def test_an_agent_that_was_lost_is_marked_with_the_reason() -> None:
    shown = host(RankChanged(rank=0, phase="ready"), AgentLost(failure=WHY))
    assert (shown.lost, shown.status, shown.failure) == (True, "failed", WHY)


def test_a_connection_that_ended_in_order_is_no_failure() -> None:
    assert not host(RankChanged(rank=0, phase="ready"), AgentLost()).lost


def test_a_ranks_last_words_count_more_than_the_connection_that_went_with_it() -> None:
    other = Failure(cause="the connection broke")
    shown = host(RankChanged(rank=0, phase="failed", failure=WHY), AgentLost(failure=other))
    assert shown.failure == WHY


def test_a_lost_agent_is_back_with_the_first_event_of_its_journal() -> None:
    lost = reduced(RankChanged(rank=0, phase="ready"), AgentLost(failure=WHY))
    back = apply(lost, Recorded(host="studio", seq=5, time=300.0, event=RankChanged(rank=0, phase="ready")))
    assert (back.hosts[0].lost, back.hosts[0].failure) == (False, None)


# replay -------------------------------------------------------------------------------------------

STORIES = (
    "provisioning",
    "loading",
    "serving",
    "serving_busy",
    "unreachable",
    "rank_killed",
    "stopped",
    "hostile",
)


def replayed(records: list[Recorded], state: ClusterState | None = None) -> ClusterState:
    state = state or initial(fake.PROFILE)
    for record in records:
        state = apply(state, record)
    return state


@pytest.mark.parametrize("name", STORIES)
def test_the_same_journal_gives_the_same_picture(name: str) -> None:
    records: list[Recorded] = getattr(fake, name)()
    assert replayed(records) == replayed(getattr(fake, name)())
    assert replayed(records) != initial(fake.PROFILE)


@pytest.mark.parametrize("name", STORIES)
def test_a_journal_replayed_onto_its_own_picture_ends_in_the_same_one(name: str) -> None:
    records: list[Recorded] = getattr(fake, name)()
    once = replayed(records)
    twice = replayed(records, once)
    assert structs.replace(twice, log_lines=once.log_lines) == once
