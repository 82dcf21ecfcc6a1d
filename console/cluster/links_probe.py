"""Do the hosts reach each other where the ring will? Asked on its own ports, both ways, before ranks start.

Every host listens on its link's port (the leader on its agent's too), then each connects to its neighbours
and to the leader. What their answers mean is a pure function; the hosts' end is `links_there`.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from importlib import resources

import msgspec
from msgspec import Struct

from console.cluster.host import Host
from console.cluster.hosts import Hosts
from console.cluster.steps import host_step, raise_first, together
from ringcore.spec.errors import HostError, MlxringError, RingError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import HostOptions, Profile
from ringcore.spec.profile_rules import is_loopback

CONNECT_SECONDS = 3.0
_ANSWER_SECONDS = 15.0  # an interpreter that starts from a cold disk
_WHY = {
    "ETIMEDOUT": f"no answer within {CONNECT_SECONDS:.0f} s",
    "ECONNREFUSED": "the connection is refused",
    "EHOSTUNREACH": "there is no route to it",
    "ENETUNREACH": "there is no route to its network",
}
Place = tuple[str, int]


class Heard(Struct, frozen=True):
    """One host's answers: where it could not listen, and whom it did not reach, with the errno's name."""

    closed: tuple[tuple[str, int, str], ...] = ()
    unreached: tuple[tuple[str, int, str], ...] = ()


def places(profile: Profile) -> dict[str, tuple[Place, ...]]:
    """Where each host listens: its link; the leader also for the other agents."""
    port = profile.ring.port
    found = {host.name: [(host.address, port + 1 + rank)] for rank, host in enumerate(profile.hosts)}
    found[profile.leader.name].append((profile.leader.address, port))
    return {name: tuple(where) for name, where in found.items()}


def targets(profile: Profile) -> dict[str, tuple[Place, ...]]:
    """Whom each host must reach: both neighbours' links, and the leader's agent."""
    hosts, where = profile.hosts, places(profile)
    found: dict[str, tuple[Place, ...]] = {}
    for rank, host in enumerate(hosts):
        near = {(rank - 1) % len(hosts), (rank + 1) % len(hosts)} - {rank}
        links = [where[hosts[other].name][0] for other in sorted(near)]
        found[host.name] = (*links, *(where[profile.leader.name][1:] if rank else ()))
    return found


async def probe(
    profile: Profile, hosts: Mapping[str, Host], facts: Mapping[str, HostFacts]
) -> list[MlxringError]:
    """What would keep the ring from forming; empty when nothing would, or where hosts share one machine."""
    if len(profile.hosts) < 2 or any(is_loopback(host.address) for host in profile.hosts):
        return []
    if not all(facts[host.name].pythons for host in profile.hosts):
        return []  # provisioning says what is missing there
    talks = _Talks(profile, hosts, facts)
    tasks = [asyncio.create_task(talks.with_host(options)) for options in profile.hosts]
    try:
        heard = await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return problems(profile, {options.name: each for options, each in zip(profile.hosts, heard, strict=True)})


async def try_links(hosts: Hosts, ring: Profile) -> None:
    """`probe`, told as a failed step of each host that has a problem. Raises the first."""

    async def tell(problem: MlxringError) -> None:
        async with host_step(hosts.emit, problem.failure.host, "facts", command="trying the ring's ports"):
            raise problem

    raise_first(await together(tell(problem) for problem in await probe(ring, hosts.reached, hosts.facts)))


class _Talks:
    """All hosts listen before one connects, and all have connected before one stops listening."""

    def __init__(self, profile: Profile, hosts: Mapping[str, Host], facts: Mapping[str, HostFacts]) -> None:
        self._hosts = hosts
        self._facts = facts
        self._token = secrets.token_hex(16)
        self._listen, self._connect = places(profile), targets(profile)
        self._together = asyncio.Barrier(len(profile.hosts))

    async def with_host(self, options: HostOptions) -> Heard:
        order = {
            "token": self._token,
            "listen": self._listen[options.name],
            "connect": self._connect[options.name],
            "seconds": CONNECT_SECONDS,
        }
        python = self._facts[options.name].pythons[0].path
        argv = [python, "-I", "-B", "-c", _script(), json.dumps(order)]
        async with self._hosts[options.name].stream(argv, timeout=3 * _ANSWER_SECONDS) as remote:
            lines = aiter(remote.lines())
            closed = (await _answer(options.name, lines)).closed
            await self._together.wait()
            await remote.send(b"\n")
            unreached = (await _answer(options.name, lines)).unreached
            await self._together.wait()
            await remote.send(b"\n")
        return Heard(closed, unreached)


def problems(profile: Profile, heard: Mapping[str, Heard]) -> list[MlxringError]:
    """In rank order. Who cannot listen is not also told as unreachable."""
    owners = {place: name for name, where in places(profile).items() for place in where}
    closed = {(address, port) for each in heard.values() for address, port, _ in each.closed}
    found: list[MlxringError] = []
    for host in profile.hosts:
        answers = heard.get(host.name, Heard())
        found += [_closed(host.name, *each, profile) for each in answers.closed]
        unreached = [each for each in answers.unreached if each[:2] in owners and each[:2] not in closed]
        for name in dict.fromkeys(owners[each[:2]] for each in unreached):
            theirs = [each for each in unreached if owners[each[:2]] == name]
            found.append(_unreached(host.name, name, theirs))
    return found


def _closed(host: str, address: str, port: int, why: str, profile: Profile) -> RingError:
    use = "the leader's agent" if port == profile.ring.port else "the ring's link"
    if why == "EADDRNOTAVAIL":
        return RingError(
            f"{address} is not an address of this host, {use} cannot listen there",
            "write hosts.address as `ip addr` or `ifconfig` on the host shows it",
            host=host,
        )
    taken = "the port is taken" if why == "EADDRINUSE" else why
    return RingError(
        f"{use} cannot listen on {address}:{port}: {taken}",
        f"end what uses that port (`lsof -i :{port}`), or set another ring.port in the profile",
        host=host,
    )


def _unreached(host: str, other: str, places: Sequence[tuple[str, int, str]]) -> RingError:
    address, _, why = places[0]
    ports = ", ".join(str(port) for _, port, _ in places)
    said = _WHY.get(why, why)
    remedy = (
        f"see that both have addresses on one network and that no firewall on {other} drops TCP to port "
        f"{ports}; on a Mac, System Settings, Privacy & Security, Local Network may keep programs from it"
    )
    if why == "another program answers":
        remedy = f"see whether {address} is really {other}'s and no other machine's on that network"
    return RingError(f"{host} does not reach {other} at {address}, port {ports}: {said}", remedy, host=host)


async def _answer(name: str, lines: AsyncIterator[bytes]) -> Heard:
    line = b""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            line = await anext(lines, b"")
            return msgspec.json.decode(line, type=Heard)
    except (TimeoutError, msgspec.MsgspecError):
        raise HostError(
            f"probing the ring's network broke off: {line.decode(errors='replace')[-200:] or 'no answer'}",
            "run the command again; the host may be overloaded",
            host=name,
        ) from None


def _script() -> str:
    return resources.files("console.cluster").joinpath("links_there.py").read_text()
