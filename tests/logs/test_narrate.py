"""What a record says in the log."""

import pytest

from console.logs.narrate import failure_lines, narrate
from console.logs.store import LogEntry
from console.reduce import apply
from console.state import ClusterState, initial
from ringcore.spec.errors import Failure
from ringcore.spec.events import (
    AgentLost,
    Event,
    HostStep,
    LogLine,
    MemoryPressure,
    MemoryUsed,
    PressureLevel,
    RankChanged,
    Recorded,
    RequestChanged,
    RingChanged,
    StepCount,
)
from ringcore.spec.units import GIB
from tests.screen import fake

WHY = Failure(cause="it broke", remedy="mend it")


def told(*events: Event, rank: int = 1) -> list[tuple[str, str, str]]:
    """(source, level, text) of every line that the events of one host make."""
    state: ClusterState = initial(fake.PROFILE)
    entries: list[LogEntry] = []
    for event in events:
        record = Recorded(host=fake.NAMES[rank], seq=0, time=1.0, event=event)
        entries += narrate(state, record)
        state = apply(state, record)
    assert all(entry.rank == rank for entry in entries)
    return [(entry.source, entry.level, entry.text) for entry in entries]


def test_a_log_line_is_told_as_it_is_but_harmless() -> None:
    event = LogLine(source="gateway", level="WARNING", text="slow \x1b[31mclient\x1b[0m\x07")
    assert told(event) == [("gateway", "WARNING", "slow client\u2407")]


def test_a_line_of_the_agent_gets_the_rank_of_its_host() -> None:
    assert told(LogLine(source="agent", level="INFO", text="x", rank=None), rank=2)


def test_a_host_outside_the_profile_says_nothing() -> None:
    record = Recorded(
        host="stranger", seq=1, time=1.0, event=LogLine(source="rank", level="INFO", text="let me in")
    )
    assert narrate(initial(fake.PROFILE), record) == []


def test_a_command_is_told_once_and_not_with_every_bit_of_progress() -> None:
    steps = [
        HostStep(step="provision", status="active", command="pip install", progress=part) for part in (0, 0.5)
    ]
    other = HostStep(step="provision", status="active", command="pip check")
    assert told(*steps, other) == [
        ("console", "INFO", "provision: pip install"),
        ("console", "INFO", "provision: pip check"),
    ]


def test_a_step_that_is_done_tells_what_came_of_it() -> None:
    assert told(HostStep(step="facts", status="done", detail="macOS 26.2")) == [
        ("console", "INFO", "facts done: macOS 26.2")
    ]
    assert told(HostStep(step="facts", status="done")) == []


@pytest.mark.parametrize(
    ("event", "source", "what"),
    [
        (HostStep(step="deploy", status="failed", failure=WHY), "console", "deploy failed: it broke"),
        (RankChanged(rank=1, phase="failed", failure=WHY), "rank", "failed: it broke"),
        (RingChanged(phase="failed", epoch=1, failure=WHY), "agent", "the ring failed: it broke"),
        (AgentLost(failure=WHY), "console", "connection to the agent ended: it broke"),
    ],
    ids=["step", "rank", "ring", "agent"],
)
def test_a_failure_is_told_with_its_remedy(event: Event, source: str, what: str) -> None:
    assert told(event) == [(source, "ERROR", what), (source, "ERROR", "remedy: mend it")]


def test_a_failure_without_a_reason_is_told_all_the_same() -> None:
    assert told(RankChanged(rank=1, phase="failed")) == [("rank", "ERROR", "failed")]


def test_a_phase_is_told_when_it_begins() -> None:
    loading = [RankChanged(rank=1, phase="loading", progress=part) for part in (0.1, 0.9)]
    assert told(*loading, RankChanged(rank=1, phase="ready", detail="28 layers")) == [
        ("rank", "INFO", "loading"),
        ("rank", "INFO", "ready: 28 layers"),
    ]


def test_the_ring_is_told_when_phase_or_epoch_changed() -> None:
    events = [RingChanged(phase="serving", epoch=epoch) for epoch in (1, 1, 2)]
    assert told(*events, rank=0) == [
        ("agent", "INFO", "ring serving, epoch 1"),
        ("agent", "INFO", "ring serving, epoch 2"),
    ]


def test_memory_is_told_when_it_gets_shorter_and_when_it_is_free_again() -> None:
    levels: tuple[PressureLevel, ...] = ("calm", "near", "near", "full", "full", "near", "calm")
    events = [
        MemoryPressure(
            rank=1, host="h", level=level, used_bytes=7 * GIB, limit_bytes=8 * GIB, source="its ceiling",
            over_bytes=GIB if level != "calm" else 0,
        )
        for level in levels
    ]  # fmt: skip
    lines = told(*events)
    assert [(source, level) for source, level, _ in lines] == [
        ("rank", "INFO"), ("rank", "WARNING"), ("rank", "INFO"), ("rank", "INFO"),
    ]  # fmt: skip
    assert (
        "refused" in lines[1][2]
        and "7.0 GiB of 8.0 GiB in use (its ceiling), 1.0 GiB too much" in lines[1][2]
    )
    assert "free again" in lines[3][2]


@pytest.mark.parametrize(
    "event",
    [
        StepCount(rank=1, steps=4),
        RequestChanged(id="a", phase="running"),
        AgentLost(),
        MemoryUsed(
            rank=1, weight_bytes=1, kv_bytes=1, workspace_bytes=1, resident_bytes=1, available_bytes=1
        ),
    ],
    ids=["steps", "request", "asked to end", "memory"],
)
def test_what_the_panes_show_is_not_told(event: Event) -> None:
    assert told(event) == []


def test_what_the_console_failed_to_do_is_told_with_its_place_and_remedy() -> None:
    entries = failure_lines(
        5.0, "start", Failure(cause="no\x07 route", remedy="mend it", host="mini2", rank=2)
    )
    assert [(entry.rank, entry.source, entry.level, entry.text) for entry in entries] == [
        (None, "console", "ERROR", "start failed: rank 2 mini2: no\u2407 route"),
        (None, "console", "ERROR", "remedy: mend it"),
    ]
    assert [entry.text for entry in failure_lines(5.0, "start", Failure(cause="no"))] == ["start failed: no"]
