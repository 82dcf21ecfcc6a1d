"""Everything that happens, as values: the agents write them, the console reduces them.

Each agent numbers its own events 1, 2, 3, ... within a run (`Recorded.seq`), keeps them in its
journal, and replays them to whoever attaches: nothing is missed, and gaps can be seen. Events of
the way up to the agent (`HostStep`) are made by the console itself.
"""

from typing import Literal

import msgspec
from msgspec import Struct

from ringcore.spec.errors import Failure
from ringcore.spec.plan import Plan
from ringcore.spec.units import format_bytes

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR"]
Source = Literal["agent", "rank", "gateway", "console"]
RankPhase = Literal["starting", "loading", "loaded", "joining", "ready", "stopping", "stopped", "failed"]
RingPhase = Literal[
    "waiting",  # for the other agents
    "loading",  # ranks load their weights
    "joining",  # ranks open the links
    "serving",
    "stopping",
    "stopped",
    "failed",
]
HostStepName = Literal["reach", "facts", "provision", "weights", "deploy", "start", "running"]
PressureLevel = Literal["calm", "near", "full", "over"]
StepStatus = Literal["waiting", "active", "done", "failed"]


class _Event(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class LogLine(_Event, frozen=True, tag="log"):
    """One line of text from a process of this host; ``text`` is raw, escape codes removed."""

    source: Source
    level: Level
    text: str
    rank: int | None = None


class RankChanged(_Event, frozen=True, tag="rank"):
    """``progress`` is 0..1 within the phase; ``detail`` a short human text. ``computes_with``: the device
    and the BLAS that this rank's process found itself bound to, said once, when it starts."""

    rank: int
    phase: RankPhase
    progress: float = 0.0
    detail: str = ""
    pid: int = 0
    failure: Failure | None = None
    computes_with: str = ""


class RingChanged(_Event, frozen=True, tag="ring"):
    """From the leader's agent only. ``api_url`` is set while serving."""

    phase: RingPhase
    epoch: int
    plan: Plan | None = None
    api_url: str = ""
    failure: Failure | None = None


class StepCount(_Event, frozen=True, tag="steps"):
    """At most 4 a second while the counter moves. ``steps`` and ``busy_seconds`` count from the start of
    the epoch; ``busy_seconds`` is time in compute, ``link_seconds`` time waiting in receive."""

    rank: int
    steps: int
    tokens: int = 0
    in_flight: int = 0
    busy_seconds: float = 0.0
    link_seconds: float = 0.0


class PrefixUsed(Struct, frozen=True, kw_only=True):
    """What a rank keeps of sequences that are over: ``blocks`` of `bytes` now; since it started ``hits``
    sequences began with ``reused_tokens`` of them, and ``evicted`` blocks went. In files: ``disk_blocks`` of
    ``disk_bytes``; ``damaged`` files were removed; ``brought`` blocks of ``brought_bytes`` came from other
    hosts, and ``missed`` were asked for in vain (rank 0 counts these). ``uncached``: classes of the model's
    caches because of which nothing can be kept."""

    blocks: int
    bytes: int
    hits: int
    reused_tokens: int
    evicted: int
    disk_blocks: int = 0
    disk_bytes: int = 0
    damaged: int = 0
    uncached: tuple[str, ...] = ()
    brought: int = 0
    brought_bytes: int = 0
    missed: int = 0


class MemoryUsed(_Event, frozen=True, tag="memory"):
    """``resident_bytes`` is the rank process's resident set, the others what MLX accounts for."""

    rank: int
    weight_bytes: int
    kv_bytes: int
    workspace_bytes: int
    resident_bytes: int
    available_bytes: int
    prefix: PrefixUsed | None = None


class MemoryPressure(_Event, frozen=True, tag="pressure"):
    """A rank's memory came nearer to a bound, or is ``calm`` again; said again while it lasts.

    ``near``: the leader gives up what can be computed again; ``full``: it refuses new requests; ``over``: it
    ends the youngest running one. ``source``: what bounds it, in words. ``over_bytes`` must go for calm.
    """

    rank: int
    host: str
    level: PressureLevel
    used_bytes: int
    limit_bytes: int
    source: str
    over_bytes: int = 0

    @property
    def text(self) -> str:
        used, limit = format_bytes(self.used_bytes), format_bytes(self.limit_bytes)
        return f"{used} of {limit} in use ({self.source}), {format_bytes(self.over_bytes)} too much"


class RequestChanged(_Event, frozen=True, tag="request"):
    """A request at the gateway. Times in seconds. Sent when it starts, at the first
    token, every second while tokens come, at the end."""

    id: str
    phase: Literal["queued", "running", "done", "cancelled", "failed"]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token_seconds: float = 0.0
    tokens_per_second: float = 0.0


class HostStep(_Event, frozen=True, tag="host"):
    """Where the console stands with one host; ``command`` is what runs now."""

    step: HostStepName
    status: StepStatus
    progress: float = 0.0
    detail: str = ""
    command: str = ""
    failure: Failure | None = None


class AgentLost(_Event, frozen=True, tag="lost"):
    """The console's own: the connection to this host's agent ended. ``failure`` None when it was asked to."""

    failure: Failure | None = None


Event = (
    LogLine
    | RankChanged
    | RingChanged
    | StepCount
    | MemoryUsed
    | MemoryPressure
    | RequestChanged
    | HostStep
    | AgentLost
)


class Recorded(Struct, frozen=True, kw_only=True):
    """An event with its place: ``host`` that wrote it, ``seq`` in that host's journal (0 for the
    console's own), ``time`` in seconds since the Unix epoch on that host's clock."""

    host: str
    seq: int
    time: float
    event: Event


recorded_encoder = msgspec.json.Encoder()
