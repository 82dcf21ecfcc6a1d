"""Makes all hosts of a profile ready at once; asks before a deployed ringcore is replaced by another."""

from collections.abc import Mapping, Sequence

from console.cluster.actions import Told, told
from console.cluster.code_archive import code_archive
from console.cluster.host import Host
from console.cluster.provision import Prepared, Provisioning
from console.cluster.steps import emit_for, host_step, together
from console.cluster.versions import Version
from console.cluster.wheelhouse import Wheelhouse
from console.ports import Confirm, Emit
from ringcore import __version__
from ringcore.spec.errors import MlxringError, ProvisionError
from ringcore.spec.events import HostStep
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import LOCAL, HostOptions


class Preparation:
    """One time over. ``wheelhouse``: where packages come from when hosts are not to fetch them themselves."""

    def __init__(
        self, ring: str, facts: Mapping[str, HostFacts], emit: Emit, wheelhouse: Wheelhouse | None = None
    ) -> None:
        self._ring = ring
        self._facts = facts
        self._emit = emit
        self._wheelhouse = wheelhouse
        self._works: dict[str, Provisioning] = {}

    async def look(self, hosts: Sequence[Host]) -> list[MlxringError]:
        """What each host lacks; changes nothing. Why some could not be looked at, or cannot be made ready."""

        async def one(host: Host) -> None:
            name = host.options.name
            work = Provisioning(host, self._facts[name], self._emit, self._ring, self._wheelhouse)
            async with host_step(self._emit, name, "provision", ends=False):
                await work.look()
            self._works[name] = work

        return await together(one(host) for host in hosts)

    def told(self) -> dict[str, tuple[Told, ...]]:
        """By host, what is still to be done there, in its order."""
        return {
            name: tuple(told(action, work.places) for action in work.needs.actions)
            for name, work in self._works.items()
        }

    async def agree(self, confirm: Confirm) -> list[MlxringError]:
        """Hosts where another ringcore is deployed are left out unless the operator agrees."""
        other = {
            name: work.found.deployed
            for name, work in self._works.items()
            if work.found.deployed is not None and differs(work.found.deployed, work.options)
        }
        if not other or await confirm(
            f"{listed(other)} deployed. Put this console's there, {own_version()}?"
        ):
            return []

        async def leave(name: str, version: Version) -> None:
            self._works.pop(name)
            async with host_step(self._emit, name, "provision", begins=False):
                raise ProvisionError(
                    f"ringcore {version} is deployed there, this console has {own_version()}",
                    "answer yes, or run the command with --yes, to put this console's in its place",
                    host=name,
                )

        return await together(leave(name, version) for name, version in other.items())

    async def do(self) -> tuple[dict[str, Prepared], list[MlxringError]]:
        prepared: dict[str, Prepared] = {}

        async def one(name: str, work: Provisioning) -> None:
            async with host_step(self._emit, name, "provision", begins=False):
                prepared[name] = await work.do()

        problems = await together(one(name, work) for name, work in self._works.items())
        return prepared, problems

    def leave(self) -> None:
        """Nothing is done after all: no host is at work any more."""
        for name in self._works:
            emit_for(self._emit, name, HostStep(step="provision", status="waiting"))

    async def remove_unused(self, host: Host) -> None:
        """What no launcher of ``host`` names any more, now that the ring's has been written anew."""
        await self._works[host.options.name].remove_unused()


def own_version() -> Version:
    return Version(code_archive().hash, __version__)


def differs(version: Version, options: HostOptions) -> bool:
    """Local hosts are this console's own: there is nobody else to ask."""
    return options.ssh != LOCAL and version.code != own_version().code


def listed(versions: Mapping[str, Version]) -> str:
    return "; ".join(f"{name} has ringcore {version}" for name, version in versions.items())
