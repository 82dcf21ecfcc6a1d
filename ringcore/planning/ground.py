"""What the hosts in the ring have and reach. Pure.

Ranks on one machine share its memory and speed, but only those that are in the ring: whoever is left out
takes nothing from the others.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ringcore.planning.capacity import Room, rooms
from ringcore.planning.cards import cards, on_card
from ringcore.planning.machines import pools
from ringcore.planning.pace import Link, link_of
from ringcore.planning.speed import ReadSpeed, speeds
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import Profile


class Standing(Struct, frozen=True):
    """Of hosts in an order of their own: ``rooms[n].rank`` is n. ``speed`` says where speeds come from."""

    rooms: tuple[Room, ...]
    speeds: tuple[ReadSpeed, ...]
    links: tuple[Link, ...]
    speed: str


class Ground:
    """``facts`` in the profile's order. Raises `PlanError` naming a card that is not there or a bad variable
    of ``environment``."""

    def __init__(self, profile: Profile, facts: Sequence[HostFacts], environment: Mapping[str, str]) -> None:
        self.cards = cards(profile, facts)
        self.facts = [on_card(fact, card) for fact, card in zip(facts, self.cards, strict=True)]
        self.pools = pools(profile, facts, self.cards)
        self._profile = profile
        self._environment = environment

    def of(self, places: Sequence[int]) -> Standing:
        """Of the hosts at these places in the profile, when no others are in the ring."""
        made = rooms(self._profile, self.facts, self._environment, pools=self.pools, among=places)
        told = [self.facts[place] for place in places]
        speed, why = speeds(told, [room.mates for room in made])
        links = tuple(link_of(self._profile.hosts[place], self.facts[place]) for place in places)
        return Standing(made, speed, links, why)
