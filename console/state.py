"""The picture of the ring: one immutable value that panes and ``--json`` read.

Knows not how it comes about (`console.reduce`), nothing of SSH or Textual. Log lines are not in it (they
go to the log store), only how many there were.
"""

from msgspec import Struct

from ringcore.spec.errors import Failure
from ringcore.spec.events import (
    HostStepName,
    MemoryPressure,
    MemoryUsed,
    RankPhase,
    RequestChanged,
    RingPhase,
    StepCount,
    StepStatus,
)
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile

STEPS: tuple[HostStepName, ...] = ("reach", "facts", "provision", "weights", "deploy", "start", "running")


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
