"""Which ranks are on one machine, and which of them share its memory and speed. Pure."""

from collections.abc import Sequence

from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import LOCAL, Profile
from ringcore.spec.profile_rules import is_loopback

Card = int | None  # as `ringcore.planning.cards` numbers them


def machines_of(profile: Profile) -> tuple[str, ...]:
    """Which machine each rank is on; equal text is the same machine.

    A ring on loopback addresses cannot leave its machine; otherwise hosts with the same SSH host are one.
    """
    if all(is_loopback(host.address) for host in profile.hosts):
        return (LOCAL,) * len(profile.hosts)
    return tuple(host.ssh.rpartition("@")[2].partition(":")[0].lower() for host in profile.hosts)


def pools(profile: Profile, facts: Sequence[HostFacts], cards: Sequence[Card]) -> tuple[str, ...]:
    """Whose memory and speed each rank has: ranks with equal text share them. A card is one of its own,
    unless its memory is the host's."""
    return tuple(
        f"{machine}, card {card or 0}" if fact.cuda and fact.cuda.total_memory_bytes else machine
        for machine, fact, card in zip(machines_of(profile), facts, cards, strict=True)
    )
