"""One picture of the ring, reduced from events: `apply(state, record) -> state`. Pure.

Knows nothing of SSH or Textual; panes and ``--json`` both read it. Log lines are not in it (they go
to the log store), only how many there were.
"""

from msgspec import Struct, structs

from ringcore.spec.errors import Failure
from ringcore.spec.events import (
    AgentLost,
    HostStep,
    HostStepName,
    LogLine,
    MemoryUsed,
    RankChanged,
    RankPhase,
    Recorded,
    RequestChanged,
    RingChanged,
    RingPhase,
    StepCount,
    StepStatus,
)
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile

STEPS: tuple[HostStepName, ...] = ("reach", "facts", "provision", "weights", "deploy", "start", "running")


class HostView(Struct, frozen=True, kw_only=True):
    """One host and its rank. Rates are over the last two `StepCount` events."""

    rank: int
    name: str
    step: HostStepName = "reach"
    status: StepStatus = "waiting"
    progress: float = 0.0
    detail: str = ""
    command: str = ""
    phase: RankPhase | None = None
    phase_progress: float = 0.0
    pid: int = 0
    steps: int = 0
    step_rate: float = 0.0
    busy_share: float = 0.0
    last_step_time: float = 0.0  # when the step counter last moved, on the host's clock
    count: StepCount | None = None
    memory: MemoryUsed | None = None
    last_seq: int = 0
    failure: Failure | None = None


class ClusterState(Struct, frozen=True, kw_only=True):
    """``time`` is that of the newest event. ``ring_phase`` None until an agent has answered."""

    name: str
    model: str
    hosts: tuple[HostView, ...]
    plan: Plan | None = None
    ring_phase: RingPhase | None = None
    epoch: int = 0
    api_url: str = ""
    failure: Failure | None = None
    requests: tuple[RequestChanged, ...] = ()  # the running ones, then the last one that ended
    tokens_per_second: float = 0.0
    first_token_seconds: float = 0.0
    log_lines: int = 0
    time: float = 0.0


def initial(profile: Profile) -> ClusterState:
    """The picture before anything is known: every host waiting to be reached."""
    hosts = tuple(HostView(rank=rank, name=host.name) for rank, host in enumerate(profile.hosts))
    return ClusterState(name=profile.name, model=profile.model, hosts=hosts)


def apply(state: ClusterState, record: Recorded) -> ClusterState:
    """The next picture. Events of hosts that are not in the profile change nothing."""
    index = next((i for i, host in enumerate(state.hosts) if host.name == record.host), None)
    if index is None:
        return state
    state = structs.replace(state, time=max(state.time, record.time))
    host = state.hosts[index]
    if record.seq:
        host = structs.replace(host, last_seq=record.seq)
    event = record.event
    if isinstance(event, LogLine):
        state = structs.replace(state, log_lines=state.log_lines + 1)
    elif isinstance(event, HostStep):
        host = _host_step(host, event)
    elif isinstance(event, RankChanged):
        host = _rank_changed(host, event)
    elif isinstance(event, StepCount):
        host = _step_count(host, event, record.time)
    elif isinstance(event, MemoryUsed):
        host = structs.replace(host, memory=event)
    elif isinstance(event, RingChanged):
        state = _ring_changed(state, event)
    elif isinstance(event, RequestChanged):
        state = _request_changed(state, event)
    elif event.failure is not None:
        assert isinstance(event, AgentLost)
        host = structs.replace(host, status="failed", failure=event.failure)
    hosts = (*state.hosts[:index], host, *state.hosts[index + 1 :])
    return structs.replace(state, hosts=hosts)


def _host_step(host: HostView, event: HostStep) -> HostView:
    return structs.replace(
        host,
        step=event.step,
        status=event.status,
        progress=event.progress,
        detail=event.detail,
        command=event.command,
        failure=event.failure if event.status == "failed" else None,
    )


def _rank_changed(host: HostView, event: RankChanged) -> HostView:
    host = structs.replace(
        host,
        phase=event.phase,
        phase_progress=event.progress,
        detail=event.detail,
        pid=event.pid or host.pid,
        failure=event.failure,
    )
    if event.phase == "starting":
        host = structs.replace(host, steps=0, step_rate=0.0, busy_share=0.0, count=None, memory=None)
    if event.phase == "ready":
        host = structs.replace(host, step="running", status="done", progress=1.0, command="")
    if event.phase == "failed":
        host = structs.replace(host, status="failed")
    if event.phase in ("stopped", "failed"):
        host = structs.replace(host, step_rate=0.0, busy_share=0.0, memory=None, pid=0)
    return host


def _step_count(host: HostView, event: StepCount, time: float) -> HostView:
    before = host.count
    moved = before is None or event.steps != before.steps
    rate, share = host.step_rate, host.busy_share
    elapsed = time - host.last_step_time
    if before is not None and moved and 0 < elapsed < 10:
        rate = max(0.0, (event.steps - before.steps) / elapsed)
        share = min(1.0, max(0.0, (event.busy_seconds - before.busy_seconds) / elapsed))
    elif not moved:
        rate, share = 0.0, 0.0
    return structs.replace(
        host,
        count=event,
        steps=event.steps,
        step_rate=rate,
        busy_share=share,
        last_step_time=time if moved else host.last_step_time,
    )


def _ring_changed(state: ClusterState, event: RingChanged) -> ClusterState:
    ended = event.phase in ("stopped", "failed")
    return structs.replace(
        state,
        ring_phase=event.phase,
        epoch=event.epoch,
        plan=event.plan or state.plan,
        api_url=event.api_url if event.phase == "serving" else "",
        failure=event.failure,
        requests=() if ended else state.requests,
        tokens_per_second=0.0 if ended else state.tokens_per_second,
    )


def _request_changed(state: ClusterState, event: RequestChanged) -> ClusterState:
    running = tuple(
        request
        for request in state.requests
        if request.id != event.id and request.phase in ("queued", "running")
    )
    return structs.replace(
        state,
        requests=(*running, event) if event.phase in ("queued", "running") else (*running, event)[-9:],
        tokens_per_second=event.tokens_per_second or state.tokens_per_second,
        first_token_seconds=event.first_token_seconds or state.first_token_seconds,
    )
