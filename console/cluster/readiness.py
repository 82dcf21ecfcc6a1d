"""Makes the hosts of a ring ready: what is installed there, the weights of their layers, the run's files.

Keeps what became of each host on the way. Knows that nobody else changes the hosts meanwhile. Starts nothing.
"""

import secrets
import uuid

from console.cluster.actions import Told
from console.cluster.api_key import have_key
from console.cluster.boot import start_at_boot
from console.cluster.deploy import deployments, run_folder, write_run
from console.cluster.host import Host
from console.cluster.hosts import Hosts
from console.cluster.prepare import Preparation
from console.cluster.provision import Prepared
from console.cluster.steps import raise_first
from console.cluster.weights import Weights
from console.cluster.wheelhouse import Wheelhouse
from console.ports import Confirm, Setup, refuse
from ringcore.planning.seats import seated
from ringcore.spec.plan import Plan


class Readiness:
    """Of ``hosts`` that were reached and whose facts were read."""

    def __init__(self, hosts: Hosts, weights: Weights, wheelhouse: Wheelhouse) -> None:
        self._hosts = hosts
        self._weights = weights
        self._wheelhouse = wheelhouse
        self._prepared: dict[str, Prepared] = {}
        self._paths: dict[str, str] = {}  # of the weights
        self._placing: Plan | None = None  # by which weights were placed last

    async def intended(self, setup: Setup) -> dict[str, tuple[Told, ...]]:
        """By host, what `prepare` would do there; changes nothing."""
        preparation = self._preparation(setup)
        problems = await preparation.look([*self._hosts.reached.values()])
        preparation.leave()
        raise_first(problems)
        return preparation.told()

    async def prepare(
        self, setup: Setup, *, confirm: Confirm | None = None, only: Host | None = None
    ) -> Preparation:
        """Install on all hosts, or ``only`` on one, what is missing. ``confirm`` is asked before another
        ringcore loses its place, unless a host cannot be made ready anyway; None: not asked.

        Whatever can be made ready is, so that one bad host does not cost the others' time again.
        """
        preparation = self._preparation(setup)
        problems = await preparation.look([*self._hosts.reached.values()] if only is None else [only])
        if confirm is not None:
            problems += await preparation.agree(refuse if problems else confirm)
        prepared, more = await preparation.do()
        self._prepared |= prepared
        raise_first(problems + more)
        return preparation

    async def place(self, plan: Plan) -> None:
        """The weights of each stage where its rank will read them."""
        self._placing = plan
        hosts = self._hosts.of([stage.host for stage in plan.stages])
        raise_first(await self._hosts.each("weights", lambda host: self._place(host, plan), hosts))

    async def place_again(self, host: Host) -> None:
        """For one host, by the plan that was being placed; nothing where there was none yet."""
        plan = self._placing
        if plan is not None and any(stage.host == host.options.name for stage in plan.stages):
            await self._place(host, plan)

    async def deploy(self, plan: Plan, setup: Setup, preparation: Preparation) -> None:
        """Write a new run on every host of ``plan``, after `prepare` and `place`."""
        ring = seated(self._hosts.profile, plan)
        paths = tuple(self._paths[options.name] for options in ring.hosts)
        secret = secrets.token_hex(32)
        by_name = {copy.me.host: copy for copy in deployments(ring, plan, paths, uuid.uuid4().hex)}

        async def one(host: Host) -> None:
            name = host.options.name
            if by_name[name].is_leader and ring.api.asks_key:
                await have_key(host, self._hosts.profile)
            await write_run(host, self._prepared[name], by_name[name], secret)
            await preparation.remove_unused(host)
            if setup.boot:
                run = run_folder(self._prepared[name], ring.name)
                await start_at_boot(host, self._hosts.facts[name], ring.name, run)

        raise_first(await self._hosts.each("deploy", one, self._hosts.of([*by_name])))

    def _preparation(self, setup: Setup) -> Preparation:
        hosts = self._hosts
        wheelhouse = self._wheelhouse if setup.offline else None
        return Preparation(hosts.profile.name, hosts.facts, hosts.emit, wheelhouse)

    async def _place(self, host: Host, plan: Plan) -> None:
        name = host.options.name
        self._paths[name] = await self._weights.place(host, self._prepared[name], plan)
