"""What a record says in the log: the line itself, or a sentence for a change worth reading later.

Progress within a step says nothing here; the panes show it.
"""

from console.logs.store import LogEntry
from console.logs.text import safe_line
from console.state import ClusterState
from ringcore.spec.errors import Failure
from ringcore.spec.events import (
    AgentLost,
    HostStep,
    Level,
    LogLine,
    MemoryPressure,
    RankChanged,
    Recorded,
    RingChanged,
    Source,
)

_PRESSED = {
    "near": "memory comes near its bound: the prefix cache gives up what was used least",
    "full": "short of memory: new requests are refused",
    "over": "short of memory: the youngest request is ended",
}


def failure_lines(time: float, what: str, failure: Failure) -> list[LogEntry]:
    """Lines for what the console itself failed to do: the verb, where, why, and the remedy."""
    where = " ".join(
        part for part in ("" if failure.rank is None else f"rank {failure.rank}", failure.host) if part
    )
    texts = _told(f"{what} failed: {where + ': ' if where else ''}", failure)
    return [LogEntry(time, None, "console", "ERROR", safe_line(text)) for text in texts]


def _told(what: str, failure: Failure) -> list[str]:
    """A line of the log each; what a failure lists, host by host, stays a list."""
    remedy = f"\nremedy: {failure.remedy}" if failure.remedy else ""
    return f"{what}{failure.cause}{remedy}".splitlines()


def narrate(state: ClusterState, record: Recorded) -> list[LogEntry]:
    """Lines for one record, given the picture *before* it. Hosts outside the profile say nothing."""
    host = next((host for host in state.hosts if host.name == record.host), None)
    if host is None:
        return []
    event = record.event
    if isinstance(event, LogLine):
        rank = host.rank if event.rank is None else event.rank
        return [LogEntry(record.time, rank, event.source, event.level, safe_line(event.text))]

    def said(source: Source, level: Level, text: str) -> LogEntry:
        return LogEntry(record.time, host.rank, source, level, safe_line(text))

    def failed(source: Source, what: str, failure: Failure | None) -> list[LogEntry]:
        if failure is None:
            return [said(source, "ERROR", what)]
        return [said(source, "ERROR", text) for text in _told(f"{what}: ", failure)]

    if isinstance(event, HostStep):
        if event.status == "failed":
            return failed("console", f"{event.step} failed", event.failure)
        changed = (event.step, event.status) != (host.step, host.status)
        if event.status == "active" and (changed or (event.command and event.command != host.command)):
            return [said("console", "INFO", f"{event.step}: {event.command or event.detail or '...'}")]
        if event.status == "done" and changed and event.detail:
            return [said("console", "INFO", f"{event.step} done: {event.detail}")]
    elif isinstance(event, RankChanged) and event.phase != host.phase:
        if event.phase == "failed":
            return failed("rank", "failed", event.failure)
        return [said("rank", "INFO", event.phase + (f": {event.detail}" if event.detail else ""))]
    elif isinstance(event, MemoryPressure):
        before = host.pressure.level if host.pressure else "calm"
        if event.level == "calm" and before != "calm":
            return [said("rank", "INFO", "memory is free again: requests are taken")]
        if event.level not in (before, "calm"):
            level: Level = "INFO" if event.level == "near" else "WARNING"
            return [said("rank", level, f"{_PRESSED[event.level]}; {event.text}")]
    elif isinstance(event, RingChanged) and (event.phase, event.epoch) != (state.ring_phase, state.epoch):
        if event.phase == "failed":
            return failed("agent", "the ring failed", event.failure)
        return [said("agent", "INFO", f"ring {event.phase}, epoch {event.epoch}")]
    elif isinstance(event, AgentLost) and event.failure is not None:
        return failed("console", "connection to the agent ended", event.failure)
    return []
