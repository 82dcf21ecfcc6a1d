"""What an event changes in the picture of one host. Pure; knows no other host, and nothing of the ring."""

from msgspec import structs

from console.state import STEPS, HostView
from ringcore.spec.errors import Failure
from ringcore.spec.events import AgentLost, HostStep, HostStepName, RankChanged, StepCount, StepStatus

_RATE_WINDOW = 10.0  # seconds between two counts beyond which a rate says nothing


def host_step(host: HostView, event: HostStep) -> HostView:
    """A step of the way up began, moved, ended or failed."""
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


def rank_changed(host: HostView, event: RankChanged) -> HostView:
    """What the rank says of itself; once it is ready, the whole way up lies behind the host."""
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


def agent_lost(host: HostView, event: AgentLost) -> HostView:
    """The connection to the agent broke; one that ended on purpose has no failure and changes nothing."""
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


def step_count(host: HostView, event: StepCount, time: float) -> HostView:
    """Rates and shares since the count before; ``time`` on the host's clock."""
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
