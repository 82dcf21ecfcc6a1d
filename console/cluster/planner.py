"""The plan of a ring, made of what its hosts say: their facts, and the card of the model that they have.

Makes plans, writes none. How a host comes by its weights is `Weights`'.
"""

from collections.abc import Awaitable, Callable, Mapping

from console.cluster.host import Host
from console.cluster.hosts import Hosts
from console.cluster.model import ring_dtype, same_model
from console.cluster.steps import emit_for, host_step, raise_first
from console.cluster.weights import Weights
from ringcore.planning.mixed import make_mixed_plan, may_leave_out
from ringcore.planning.plan import make_plan
from ringcore.spec.card import ModelCard
from ringcore.spec.events import HostStep
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import DEMO_MODEL, Profile

Progress = Callable[[float, str], None]
MakeModel = Callable[[Progress], Awaitable[str]]


class Planner:
    """``make_model`` gives the folder of the demo model. ``environment`` is where memory overrides are
    looked up."""

    def __init__(
        self, hosts: Hosts, weights: Weights, make_model: MakeModel, environment: Mapping[str, str]
    ) -> None:
        self._hosts = hosts
        self._weights = weights
        self._make_model = make_model
        self._environment = environment
        self._card: ModelCard | None = None
        self._stored: ModelCard | None = None  # the same in its own dtype, where that is a choice

    async def make(self) -> Plan:
        """After all facts were read. Raises `PlanError`, and of the cards' reading what came first."""
        own_model = await self.own_model()
        cards: dict[str, ModelCard] = {}
        stored: dict[str, ModelCard] = {}
        profile = self._hosts.profile
        two = may_leave_out(profile, self._facts_of(profile))

        async def one(host: Host) -> None:
            name = host.options.name
            cards[name] = await self.card(host, own_model)
            if two:
                stored[name] = await self._weights.card(host, self._hosts.facts[name], own_model, "stored")

        raise_first(await self._hosts.each("weights", one))
        names = [options.name for options in profile.hosts]
        self._card = same_model([(name, cards[name]) for name in names])
        self._stored = same_model([(name, stored[name]) for name in names]) if two else None
        return self.planned_for(profile)

    def planned_for(self, profile: Profile) -> Plan:
        """The plan of another profile over the same hosts and model, after `make`. Pure."""
        assert self._card is not None, "plan first"
        facts = self._facts_of(profile)
        if self._stored is not None and may_leave_out(profile, facts):
            return make_mixed_plan(self._card, self._stored, profile, facts, self._environment)
        return make_plan(self._card, profile, facts, self._environment)

    def _facts_of(self, profile: Profile) -> list[HostFacts]:
        return [self._hosts.facts[options.name] for options in profile.hosts]

    async def card(self, host: Host, own_model: str) -> ModelCard:
        """Of the model that ``host`` has or will get, in the dtype that the known hosts together call for."""
        dtype = ring_dtype(self._hosts.profile, list(self._hosts.facts.values()))
        return await self._weights.card(host, self._hosts.facts[host.options.name], own_model, dtype)

    async def own_model(self) -> str:
        """Folder of the demo model where the profile asks for it, else ""."""
        if self._hosts.profile.model != DEMO_MODEL:
            return ""
        emit, leader = self._hosts.emit, self._hosts.profile.leader.name

        def progress(share: float, text: str) -> None:
            emit_for(emit, leader, HostStep(step="weights", status="active", progress=share, detail=text))

        async with host_step(emit, leader, "weights"):
            return await self._make_model(progress)
