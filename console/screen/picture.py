"""What the panes draw from: the ring's state and what the console itself is doing. Plain values.

Knows no widget. Decides the words for "where do we stand", so that header, prompt and actions agree.
"""

from typing import Literal

from msgspec import Struct

from console.state import ClusterState, HostView
from ringcore.spec.errors import Failure
from ringcore.spec.plan import Plan, Stage

Tone = Literal["good", "busy", "bad", "idle"]
Verb = Literal["", "plan", "provision", "deploy", "start", "stop", "retry"]


class Picture(Struct, frozen=True, kw_only=True):
    """``working``: ranks whose step counter moved just now. ``busy``: the operator's verb at work.

    ``attached``: the console follows the agents. ``failure``: why the last verb failed, when no host
    or ring carries it. ``drafted``: the plan that the console made last, not started yet. ``chosen``: rank
    of the highlighted host.
    """

    state: ClusterState
    working: frozenset[int] = frozenset()
    busy: Verb = ""
    attached: bool = False
    failure: Failure | None = None
    drafted: Plan | None = None
    chosen: int = 0

    @property
    def plan(self) -> Plan | None:
        """What the ring runs by; while none runs, what the next one would."""
        return self.state.plan if self.alive or self.drafted is None else self.drafted

    @property
    def alive(self) -> bool:
        """A ring runs, as far as anyone has told us."""
        return self.state.ring_phase in ("waiting", "loading", "joining", "serving", "stopping")

    @property
    def serving(self) -> bool:
        return self.state.ring_phase == "serving" and not self.state.hosts[0].lost

    @property
    def ready_ranks(self) -> int:
        return sum(host.phase == "ready" and not host.lost for host in self.state.hosts)

    @property
    def shown_failure(self) -> Failure | None:
        return self.failure or self.state.failure

    def stage(self, rank: int) -> Stage | None:
        """Of the host with this rank. A plan that was not started may have the hosts in another order."""
        name = self.state.hosts[rank].name
        return next((stage for stage in self.plan.stages if stage.host == name), None) if self.plan else None

    def host(self, stage: Stage) -> HostView | None:
        """Whose stage it is; None where the profile has lost that host since."""
        return next((host for host in self.state.hosts if host.name == stage.host), None)


_VERB_WORDS = {
    "plan": "PLANNING",
    "provision": "PROVISIONING",
    "deploy": "DEPLOYING",
    "start": "STARTING",
    "stop": "STOPPING",
    "retry": "RETRYING",
}


def headline(picture: Picture) -> tuple[str, Tone]:
    """The one word an operator looks for first, and how it should feel."""
    state = picture.state
    if picture.busy and state.ring_phase not in ("loading", "joining"):
        return _VERB_WORDS[picture.busy], "busy"
    if picture.alive and not picture.attached and not picture.busy:
        return "NOT ATTACHED", "bad"
    if picture.alive and state.hosts[0].lost:
        return "LEADER LOST", "bad"
    if state.ring_phase == "serving":
        return "SERVING", "good"
    if state.ring_phase == "failed" or picture.shown_failure or any(host.failure for host in state.hosts):
        return "FAILED", "bad"
    if state.ring_phase is None:
        return "NOT RUNNING", "idle"
    return state.ring_phase.upper(), "idle" if state.ring_phase == "stopped" else "busy"


def why_no_chat(picture: Picture) -> str:
    """Empty when a question can be asked; otherwise the reason and what to press."""
    word, tone = headline(picture)
    if picture.serving and picture.attached:
        return ""
    if word == "NOT ATTACHED":
        return "not attached to the ring: press a to attach again"
    if word == "LEADER LOST":
        return "the connection to the leader broke: press a to attach again"
    if tone == "busy":
        return f"the ring is {word.lower()}: wait until it serves"
    if word == "FAILED":
        return "the ring does not serve: see what failed under Hosts, then press s to start"
    return "the ring does not run: press s to start it"
