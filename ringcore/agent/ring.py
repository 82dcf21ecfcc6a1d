"""The leader's decisions about one ring: who starts what when, and which of several causes is the root. Pure.

Fed with what happened and the time (seconds of a clock that never goes back); answers with orders.
Knows nothing of processes, sockets or journals.
"""

from collections.abc import Sequence

from msgspec import Struct

from ringcore.spec.deployment import Member
from ringcore.spec.errors import Failure, RingError
from ringcore.spec.events import RankChanged, RingPhase, StepCount

EPOCH = 1
PRESENT_SECONDS = 20.0  # for every agent to come to the leader's
LOAD_STALL_SECONDS = 120.0  # without a sign of progress; the whole load may take as long as it takes
JOIN_SECONDS = 34.0  # the ranks give up on a neighbour after 30 s and then say which
GATEWAY_SECONDS = 60.0  # after the ranks are ready
# No rank makes a step though requests wait. A GPU that compiled its kernels took 69 s for its first.
STANDSTILL_SECONDS = 180.0
# A rank that dies makes its neighbours report broken links, often before its own agent has seen it.
GATHER_SECONDS, GATHER_ACCUSATIONS_SECONDS = 0.3, 2.0


class StartRanks(Struct, frozen=True):
    """Every agent starts its rank."""


class JoinRanks(Struct, frozen=True):
    """Every rank opens its links."""


class Phase(Struct, frozen=True):
    """The ring is in this phase now, for the journal."""

    phase: RingPhase


class End(Struct, frozen=True):
    """End ranks, gateway and agents. ``failure`` is why; None when the operator asked for it."""

    failure: Failure | None = None


Order = StartRanks | JoinRanks | Phase | End


class RingControl:
    """Every method that takes ``now`` may return orders; call `tick` at least at `next_tick`."""

    def __init__(self, members: Sequence[Member], now: float) -> None:
        self.phase: RingPhase = "waiting"
        self.failure: Failure | None = None
        self._members = tuple(members)
        self._since = now  # when the phase began
        self._present = {0}
        self._phases: dict[int, str] = {}
        self._signs: dict[int, float] = {}  # when a rank last showed progress
        self._progress: dict[int, tuple[str, float, str]] = {}
        self._steps: dict[int, int] = {}
        self._moved = now
        self._requests = 0
        self._gateway = False
        self._causes: list[Failure] = []
        self._decide_at: float | None = None

    @property
    def ended(self) -> bool:
        """The order to end has been given."""
        return self.phase in ("stopping", "failed")

    @property
    def next_tick(self) -> float:
        """When `tick` must be called next, if nothing happens before."""
        if self._decide_at is not None:
            return self._decide_at
        waits = {
            "waiting": self._since + PRESENT_SECONDS,
            "loading": min(self._signs.values(), default=self._since) + LOAD_STALL_SECONDS,
            "joining": self._since + (JOIN_SECONDS if self._not_in("ready") else GATEWAY_SECONDS),
        }
        if self.phase == "serving" and self._requests:
            return self._moved + STANDSTILL_SECONDS
        return waits.get(self.phase, float("inf"))

    # what happened -------------------------------------------------------------------------------
    def begin(self, now: float) -> list[Order]:
        """The leader's agent listens."""
        return self._advance(now)

    def present(self, rank: int, now: float) -> list[Order]:
        """A member's agent is connected."""
        self._present.add(rank)
        return self._advance(now)

    def rank_said(self, event: RankChanged | StepCount, now: float) -> list[Order]:
        if isinstance(event, StepCount):
            if self._steps.get(event.rank) != event.steps:
                self._steps[event.rank] = event.steps
                self._moved = now
            return []
        self._phases[event.rank] = event.phase
        sign = (event.phase, event.progress, event.detail)
        if self._progress.get(event.rank) != sign:
            self._progress[event.rank] = sign
            self._signs[event.rank] = now
        return self._advance(now)

    def gateway_ready(self, now: float) -> list[Order]:
        self._gateway = True
        return self._advance(now)

    def requests(self, unfinished: int, now: float) -> None:
        """How many requests the gateway waits for."""
        if not self._requests:
            self._moved = now
        self._requests = unfinished

    def failed(self, failure: Failure, now: float) -> None:
        """Something ended that must not. The verdict follows at `next_tick`."""
        if self.ended:
            return
        self._causes.append(failure)
        patience = GATHER_SECONDS if failure.blames is None else GATHER_ACCUSATIONS_SECONDS
        self._decide_at = min(self._decide_at or float("inf"), now + patience)

    def stop(self) -> list[Order]:
        """The operator wants the ring to end."""
        if self.ended:
            return []
        self.phase = "stopping"
        return [Phase("stopping"), End()]

    def tick(self, now: float) -> list[Order]:
        if self.ended or now < self.next_tick:
            return []
        if self._decide_at is None:
            self._causes.append(self._overdue())
        self.failure = root(self._causes)
        self.phase = "failed"
        return [End(self.failure)]

    # inside --------------------------------------------------------------------------------------
    def _advance(self, now: float) -> list[Order]:
        if self._decide_at is not None or self.ended:
            return []
        if self.phase == "waiting" and len(self._present) == len(self._members):
            self._signs = {member.rank: now for member in self._members}
            return [*self._enter("loading", now), StartRanks()]
        if self.phase == "loading" and not self._not_in("loaded", "joining", "ready"):
            return [*self._enter("joining", now), JoinRanks()]
        if self.phase == "joining" and self._gateway and not self._not_in("ready"):
            return self._enter("serving", now)
        return []

    def _enter(self, phase: RingPhase, now: float) -> list[Order]:
        self.phase, self._since = phase, now
        return [Phase(phase)]

    def _not_in(self, *phases: str) -> list[Member]:
        return [member for member in self._members if self._phases.get(member.rank) not in phases]

    def _overdue(self) -> Failure:
        if self.phase == "waiting":
            member = next(m for m in self._members if m.rank not in self._present)
            leader = self._members[0]
            return _at(
                member,
                f"its agent did not reach the leader's at {leader.address} within {PRESENT_SECONDS:.0f} s",
                f"check that {member.host} reaches that address (firewall, hosts.address of {leader.host})",
            )
        if self.phase == "loading":
            rank = min(self._signs, key=lambda rank: self._signs[rank])
            return _at(
                self._members[rank],
                f"the rank has shown no progress in loading for {LOAD_STALL_SECONDS:.0f} s",
                f"see whether the disk with the model answers; read rank-{rank}.log in the run folder",
            )
        if self.phase == "joining":
            late = self._not_in("ready")
            if late:
                return _at(
                    late[0],
                    f"the rank did not join the ring within {JOIN_SECONDS:.0f} s",
                    "check that the hosts' addresses reach each other on the ring's ports",
                )
            return _at(
                self._members[0],
                f"the gateway was not ready {GATEWAY_SECONDS:.0f} s after the ranks",
                "read gateway.log in the run folder",
            )
        slowest = min(self._members, key=lambda member: self._steps.get(member.rank, 0))
        return _at(
            slowest,
            f"no rank has made a step for {STANDSTILL_SECONDS:.0f} s while {self._requests} requests wait; "
            f"this rank has counted the fewest steps ({self._steps.get(slowest.rank, 0)})",
            f"read rank-{slowest.rank}.log; start the ring again",
        )


def root(causes: Sequence[Failure]) -> Failure:
    """Of several causes, in the order in which they came, the one that explains the others.

    A cause of its own comes before the accusation of a neighbour; an accused rank's own cause before
    any other's.
    """
    accused = {cause.blames for cause in causes if cause.blames is not None}
    own = [cause for cause in causes if cause.blames is None]
    return next((cause for cause in own if cause.rank in accused), own[0] if own else causes[0])


def _at(member: Member, cause: str, remedy: str) -> Failure:
    return RingError(cause, remedy, host=member.host, rank=member.rank).failure
