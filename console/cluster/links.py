"""Which of a host's networks the ring would use, and whether a faster one is there: notes from facts alone.

Pure: profile and facts in, sentences out. Whether addresses answer is `links_probe`'s question.
"""

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network

from msgspec import Struct

from ringcore.spec.facts import HostFacts, NetworkAddress
from ringcore.spec.profile import Profile
from ringcore.spec.profile_rules import is_loopback

WORDS = {"thunderbolt": "Thunderbolt bridge", "ethernet": "Ethernet", "wifi": "Wi-Fi"}
_SPEED = {"wifi": 1, "ethernet": 2, "thunderbolt": 3}
_USUAL_PREFIX = 24  # where the host did not say


class Note(Struct, frozen=True):
    """Something an operator would want to know about ``host``'s place on the ring's network."""

    host: str
    text: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.host} {self.text}; {self.remedy}"


class _Link(Struct, frozen=True):
    host: str
    at: NetworkAddress

    @property
    def network(self) -> IPv4Network:
        return IPv4Interface(f"{self.at.address}/{self.at.prefix or _USUAL_PREFIX}").network

    @property
    def speed(self) -> int:
        return _SPEED.get(self.at.kind, 0)


def notes(profile: Profile, facts: Mapping[str, HostFacts]) -> tuple[Note, ...]:
    """In the order of the ranks; nothing about loopback addresses and hosts without facts."""
    hosts = [host for host in profile.hosts if host.name in facts and not is_loopback(host.address)]
    links = {host.name: _links(host.name, facts[host.name]) for host in hosts}
    used: dict[str, _Link] = {}
    found: list[Note] = []
    for host in hosts:
        link = next((link for link in links[host.name] if link.at.address == host.address), None)
        if link is None:
            found.append(_not_its_own(host.name, host.address, links[host.name]))
        else:
            used[host.name] = link
    found += _faster(links, used)
    return tuple([*found, *_mixed(list(used.values()))])


def _links(host: str, facts: HostFacts) -> list[_Link]:
    return [_Link(host, at) for at in facts.addresses if at.kind != "loopback" and _is_sound(at)]


def _is_sound(at: NetworkAddress) -> bool:
    """A host may say anything of itself."""
    try:
        return bool(IPv4Interface(f"{at.address}/{at.prefix or _USUAL_PREFIX}"))
    except ValueError:
        return False


def _faster(links: Mapping[str, Sequence[_Link]], used: Mapping[str, _Link]) -> Iterator[Note]:
    """A faster link counts when all hosts of the ring are on its network, or at least one other is."""
    for host, link in used.items():
        better = [
            other
            for other in links[host]
            if link.speed and other.speed > link.speed and _companions(other, links)
        ]
        if not better:
            continue
        best = max(better, key=lambda other: (other.speed, len(_companions(other, links))))
        together = {best.host: best.at.address} | _companions(best, links)
        if len(together) == len(links):
            written = ", ".join(f"{name} {address}" for name, address in sorted(together.items()))
            remedy = f"to use it, write these under hosts.address: {written}"
        else:
            absent = ", ".join(name for name in links if name not in together)
            remedy = f"to use it, connect {absent} to that network too"
        yield Note(
            host,
            f"would use {WORDS[link.at.kind]} {link.at.interface}; "
            f"{WORDS[best.at.kind]} {best.at.address} is also there",
            remedy,
        )


def _companions(link: _Link, links: Mapping[str, Sequence[_Link]]) -> dict[str, str]:
    """Other hosts with a link as fast on the same network, and their addresses on it."""
    found: dict[str, str] = {}
    for host, others in links.items():
        for other in others:
            if host != link.host and other.network == link.network and other.speed >= link.speed:
                found.setdefault(host, other.at.address)
    return found


def _mixed(used: Sequence[_Link]) -> Iterator[Note]:
    known = [link for link in used if link.speed]
    if len({link.at.kind for link in known}) < 2:
        return
    slow = min(known, key=lambda link: link.speed)
    fast = max(known, key=lambda link: link.speed)
    yield Note(
        slow.host,
        f"is on {WORDS[slow.at.kind]} {slow.at.interface}, {fast.host} on {WORDS[fast.at.kind]} "
        f"{fast.at.interface}",
        "every token passes all links, so the slowest one sets the pace: put all hosts on one network",
    )


def _not_its_own(host: str, address: str, links: Sequence[_Link]) -> Note:
    has = ", ".join(_told(link.at) for link in links) or "none besides loopback"
    best = max(links, key=lambda link: link.speed, default=None)
    remedy = f'write address = "{best.at.address}" for it' if best else "connect it to the others' network"
    return Note(host, f"has no address {address}; it has {has}", remedy)


def _told(at: NetworkAddress) -> str:
    kind = WORDS.get(at.kind, "")
    return f"{at.address} ({kind + ' ' if kind else ''}{at.interface})"
