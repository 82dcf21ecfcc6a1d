"""What was done on each host: every step, its commands and failures; bounded, and without repetition."""

from pathlib import Path

from console.audit import Audit
from console.logs import audited
from console.logs.actions import KEPT, ActionLog
from ringcore.spec.errors import Failure
from ringcore.spec.events import AgentLost, Event, HostStep, LogLine, RankChanged, Recorded


def log_of(*events: Event, host: str = "h1") -> list[str]:
    log = ActionLog()
    for number, event in enumerate(events):
        log.take(Recorded(host=host, seq=0, time=float(number), event=event))
    return [line.text for line in log.lines(host)]


def test_a_step_tells_its_command_once_and_its_progress_as_it_comes() -> None:
    def step(detail: str, **values: object) -> HostStep:
        return HostStep(
            step="provision",
            status="active",
            detail=detail,
            command="pip install",
            **values,  # type: ignore[arg-type]
        )

    assert log_of(
        step("1 of 3"), step("1 of 3"), step("2 of 3"), HostStep(step="provision", status="done")
    ) == [
        "provision: $ pip install",
        "provision: 1 of 3",
        "provision: 2 of 3",
        "provision: done",
    ]


def test_failures_are_told_line_by_line_with_their_remedy() -> None:
    failure = Failure(cause="does not fit:\n  rank 0", remedy="less context")
    assert log_of(HostStep(step="weights", status="failed", failure=failure)) == [
        "weights: failed, does not fit:",
        "  rank 0",
        "remedy: less context",
    ]
    assert log_of(AgentLost(failure=Failure(cause="broken")))[0] == "connection to the agent: failed, broken"
    assert log_of(RankChanged(rank=0, phase="failed"))[0] == "rank: failed"


def test_what_ranks_print_is_not_among_it_and_escape_codes_are_harmless() -> None:
    assert log_of(LogLine(source="rank", level="INFO", text="hello")) == []
    assert log_of(HostStep(step="reach", status="done", detail="\x1b[31mred\x07")) == ["reach: done, red␇"]


def test_each_host_keeps_its_newest_lines() -> None:
    steps = [HostStep(step="provision", status="active", detail=f"{n}") for n in range(KEPT + 50)]
    lines = log_of(*steps)
    assert len(lines) == KEPT and lines[-1] == f"provision: {KEPT + 49}"


def test_commands_of_the_audit_log_are_told_with_how_they_ended(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    audit = Audit("ring", tmp_path / "mlxring" / "audit.log")
    audit.begin("h1", "there", ["echo", "a b"]).end(0)
    audit.begin("h2", "there", ["false"]).end(1)
    audit.begin("h1", "there", ["x" * 300]).end(-1)
    audit.begin("h1", "there", ["sleep", "9"]).runs_on()
    lines = audited.audited("ring", "h1")
    assert [line.bad for line in lines] == [False, True, False]
    assert lines[0].text == "$ echo 'a b'  → exit 0, 0.0 s"
    assert lines[1].text.startswith("$ xxxx") and lines[1].text.endswith("…  → ended by a signal, 0.0 s")
    assert lines[2].text == "$ sleep 9  runs"
    assert audited.audited("another", "h1") == ()
