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
    MemoryPressure,
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
_ALIVE = ("queued", "running")
_RATE_WINDOW = 10.0  # seconds between two counts beyond which a rate says nothing


class HostView(Struct, frozen=True, kw_only=True):
    """One host and its rank. Rates and shares are over the last two `StepCount` events.

    ``step`` and ``status`` say where the way up stands, ``phase`` what the rank itself said last.
    ``failure`` stays until the step that failed, ``failed_step``, is tried again. ``lost``: the agent ran
    when we last heard of it, and the connection to it broke. A host that the plan leaves out has a ``rank``
    behind all. ``passed``: steps that are done, in any order; a plan needs no provisioning.
    """

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
    computes_with: str = ""  # device and BLAS, as the rank itself found them
    steps: int = 0
    step_rate: float = 0.0
    busy_share: float = 0.0  # of the time, in compute
    link_share: float = 0.0  # of the time, waiting in receive
    last_step_time: float = 0.0  # when the step counter last moved, on the host's clock
    count: StepCount | None = None
    memory: MemoryUsed | None = None
    pressure: MemoryPressure | None = None  # while the rank is short of memory
    last_seq: int = 0
    lost: bool = False
    failure: Failure | None = None
    failed_step: HostStepName | None = None
    passed: tuple[HostStepName, ...] = ()


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
    host, event = state.hosts[index], record.event
    if record.seq:
        host = structs.replace(host, last_seq=record.seq, lost=False)
    if isinstance(event, HostStep):
        host = _host_step(host, event)
    elif isinstance(event, RankChanged):
        host = _rank_changed(host, event)
    elif isinstance(event, StepCount):
        host = _step_count(host, event, record.time)
    elif isinstance(event, MemoryUsed):
        host = structs.replace(host, memory=event)
    elif isinstance(event, MemoryPressure):
        host = structs.replace(host, pressure=None if event.level == "calm" else event)
    elif isinstance(event, AgentLost):
        host = _agent_lost(host, event)
    elif isinstance(event, RingChanged):
        state = _ring_changed(state, event)
    elif isinstance(event, RequestChanged):
        state = _request_changed(state, event)
    hosts = (*state.hosts[:index], host, *state.hosts[index + 1 :])
    if isinstance(event, RingChanged) and state.plan is not None:
        hosts = _seated(hosts, state.plan)
    return structs.replace(
        state,
        time=max(state.time, record.time),
        hosts=hosts,
        log_lines=state.log_lines + isinstance(event, LogLine),
    )


def _seated(hosts: tuple[HostView, ...], plan: Plan) -> tuple[HostView, ...]:
    """In the plan's order; behind them hosts that it leaves out."""
    ranks = {stage.host: stage.rank for stage in plan.stages}
    inside = sorted((host for host in hosts if host.name in ranks), key=lambda host: ranks[host.name])
    outside = [host for host in hosts if host.name not in ranks]
    return tuple(
        host if host.rank == rank else structs.replace(host, rank=rank)
        for rank, host in enumerate([*inside, *outside])
    )


def _host_step(host: HostView, event: HostStep) -> HostView:
    others = tuple(step for step in host.passed if step != event.step)
    host = structs.replace(host, passed=(*others, event.step) if event.status == "done" else others)
    if event.status == "failed":
        failure = event.failure or Failure(cause=f"{event.step} failed", host=host.name, rank=host.rank)
        return structs.replace(
            host,
            step=event.step,
            status="failed",
            detail=event.detail,
            command=event.command,
            failure=failure,
            failed_step=event.step,
        )
    if event.step in ("reach", "facts") and event.status == "done" and host.phase in ("ready", "failed"):
        # Reached again: what the rank said last still holds, and what the journal has to add comes next.
        kept = host.failure if host.phase == "failed" else None
        status: StepStatus = "failed" if host.phase == "failed" else "done"
        return structs.replace(
            host, step="running", status=status, progress=1.0, detail="", command="", failure=kept
        )
    if host.failed_step is not None and STEPS.index(event.step) < STEPS.index(host.failed_step):
        return _before_the_failed(host, event, host.failed_step)
    if event.step == "start" and event.status == "active":
        host = structs.replace(_quiet(host), phase=None, phase_progress=0.0, count=None, steps=0)
    return structs.replace(
        host,
        step=event.step,
        status=event.status,
        progress=event.progress,
        detail=event.detail,
        command=event.command,
        failure=host.failure if event.step in ("reach", "facts") and host.phase == "failed" else None,
        failed_step=None,
    )


def _before_the_failed(host: HostView, event: HostStep, failed: HostStepName) -> HostView:
    """An earlier step goes well: what failed after it has not been tried again, so it still stands."""
    if event.status == "done":
        return structs.replace(host, step=failed, status="failed", progress=0.0, detail="", command="")
    return structs.replace(
        host,
        step=event.step,
        status=event.status,
        progress=event.progress,
        detail=event.detail,
        command=event.command,
    )


def _rank_changed(host: HostView, event: RankChanged) -> HostView:
    host = structs.replace(
        host,
        phase=event.phase,
        phase_progress=event.progress,
        detail=event.detail,
        command="",
        pid=event.pid or host.pid,
        computes_with=event.computes_with or host.computes_with,
    )
    match event.phase:
        case "ready":
            return structs.replace(
                host,
                step="running",
                status="done",
                progress=1.0,
                failure=None,
                failed_step=None,
                passed=STEPS,
            )
        case "failed":
            failure = event.failure or Failure(cause="the rank failed", host=host.name, rank=host.rank)
            return structs.replace(_quiet(host), status="failed", failure=failure)
        case "stopping":
            return structs.replace(host, status="failed" if host.failure else "active")
        case "stopped":
            return structs.replace(_quiet(host), status="failed" if host.failure else "waiting")
        case "starting":
            host = structs.replace(
                _quiet(host), pid=event.pid, computes_with=event.computes_with, steps=0, count=None
            )
        case _:
            pass
    return structs.replace(
        host,
        step="start",
        status="active",
        progress=event.progress,
        failure=None,
        failed_step=None,
        passed=STEPS[: STEPS.index("start")],
    )


def _agent_lost(host: HostView, event: AgentLost) -> HostView:
    if event.failure is None:
        return host
    host = structs.replace(host, step_rate=0.0, busy_share=0.0, link_share=0.0, lost=True)
    # A rank's own last words tell more than that the connection went with it.
    return structs.replace(host, status="failed", failure=host.failure or event.failure)


def _quiet(host: HostView) -> HostView:
    return structs.replace(
        host,
        step_rate=0.0,
        busy_share=0.0,
        link_share=0.0,
        memory=None,
        pressure=None,
        pid=0,
        computes_with="",
    )


def _step_count(host: HostView, event: StepCount, time: float) -> HostView:
    before = host.count
    if before is None:
        return structs.replace(host, count=event, steps=event.steps, last_step_time=time)
    moved = event.steps != before.steps
    elapsed = time - host.last_step_time
    rate = busy = link = 0.0
    if moved and 0 < elapsed < _RATE_WINDOW:
        rate = max(0.0, (event.steps - before.steps) / elapsed)
        busy = min(1.0, max(0.0, (event.busy_seconds - before.busy_seconds) / elapsed))
        link = min(1.0, max(0.0, (event.link_seconds - before.link_seconds) / elapsed))
    return structs.replace(
        host,
        count=event,
        steps=event.steps,
        step_rate=rate,
        busy_share=busy,
        link_share=link,
        last_step_time=time if moved else host.last_step_time,
    )


def _ring_changed(state: ClusterState, event: RingChanged) -> ClusterState:
    ended = event.phase in ("stopped", "failed")
    plan = event.plan if event.plan and event.plan.stages else state.plan
    # A ring that failed is taken down next: that must not wipe why.
    kept = state.failure if event.phase in ("stopping", "stopped") else None
    return structs.replace(
        state,
        ring_phase=event.phase,
        epoch=event.epoch,
        plan=plan,
        api_url=event.api_url if event.phase == "serving" else "",
        failure=event.failure or kept,
        requests=() if ended else state.requests,
        tokens_per_second=0.0 if ended else state.tokens_per_second,
        first_token_seconds=0.0 if ended else state.first_token_seconds,
    )


def _request_changed(state: ClusterState, event: RequestChanged) -> ClusterState:
    others = [request for request in state.requests if request.id != event.id]
    running = [request for request in others if request.phase in _ALIVE]
    ended = [request for request in others if request.phase not in _ALIVE]
    (running if event.phase in _ALIVE else ended).append(event)
    return structs.replace(
        state,
        requests=(*running, *ended[-1:]),
        tokens_per_second=event.tokens_per_second or state.tokens_per_second,
        first_token_seconds=event.first_token_seconds or state.first_token_seconds,
    )
