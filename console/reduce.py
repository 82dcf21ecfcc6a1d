"""The next picture from the one before and one event: `apply(state, record) -> state`. Pure.

Decides which host and which part an event is about; what it changes in one host is `console.reduce_host`.
"""

from msgspec import structs

from console.reduce_host import agent_lost, host_step, rank_changed, step_count
from console.state import ClusterState, HostView
from ringcore.spec.events import (
    AgentLost,
    HostStep,
    LogLine,
    MemoryPressure,
    MemoryUsed,
    RankChanged,
    Recorded,
    RequestChanged,
    RingChanged,
    StepCount,
)
from ringcore.spec.plan import Plan

_ALIVE = ("queued", "running")


def apply(state: ClusterState, record: Recorded) -> ClusterState:
    """The next picture. Events of hosts that are not in the profile change nothing."""
    index = next((i for i, host in enumerate(state.hosts) if host.name == record.host), None)
    if index is None:
        return state
    host, event = state.hosts[index], record.event
    if record.seq:
        host = structs.replace(host, last_seq=record.seq, lost=False)
    if isinstance(event, HostStep):
        host = host_step(host, event)
    elif isinstance(event, RankChanged):
        host = rank_changed(host, event)
    elif isinstance(event, StepCount):
        host = step_count(host, event, record.time)
    elif isinstance(event, MemoryUsed):
        host = structs.replace(host, memory=event)
    elif isinstance(event, MemoryPressure):
        host = structs.replace(host, pressure=None if event.level == "calm" else event)
    elif isinstance(event, AgentLost):
        host = agent_lost(host, event)
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
