"""Which card each rank computes on, where a machine has several. Pure; knows no sizes of models.

Cards are numbered as ``nvidia-smi`` lists them, which is the order of the facts.
"""

from collections.abc import Iterator, Sequence

from msgspec import structs

from ringcore.planning.machines import Card, machines_of
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts, usable
from ringcore.spec.plan import Stage
from ringcore.spec.profile import HostOptions, Profile


def cards(profile: Profile, facts: Sequence[HostFacts]) -> tuple[Card, ...]:
    """A number a rank; None: what MLX takes by itself, the first card or none.

    ``hosts.gpu`` in the profile counts. Else ranks on one machine take a card each, in their order, where it
    has as many that MLX can use; where it has fewer they share the first. Raises `PlanError` for a card that
    is not there.
    """
    for host, fact in zip(profile.hosts, facts, strict=True):
        _refuse_missing(host, fact)
    made: list[Card] = [host.gpu for host in profile.hosts]
    machines = machines_of(profile)
    for machine in dict.fromkeys(machines):
        ranks = [rank for rank, other in enumerate(machines) if other == machine]
        undecided = [rank for rank in ranks if made[rank] is None]
        taken = [made[rank] for rank in ranks]
        left = [number for number in _usable(facts[ranks[0]]) if number not in taken]
        if len(ranks) > 1 and len(left) >= len(undecided):
            for rank, number in zip(undecided, left, strict=False):
                made[rank] = number
    return tuple(made)


def on_card(fact: HostFacts, card: Card) -> HostFacts:
    """What a rank with this card has: the others are none of its own."""
    return fact if card is None else structs.replace(fact, gpus=(fact.gpus[card],))


def card_notes(stages: Sequence[Stage]) -> Iterator[str]:
    """For the operator, where cards were given."""
    given = [f"{stage.host} {stage.gpu}" for stage in stages if stage.gpu is not None]
    if given:
        yield f"cards, as nvidia-smi numbers them: {', '.join(given)}."


def _usable(fact: HostFacts) -> list[int]:
    """None where the first one is not: such a host is prepared as one without cards."""
    return [number for number, gpu in enumerate(fact.gpus) if usable(gpu)] if fact.cuda else []


def _refuse_missing(host: HostOptions, fact: HostFacts) -> None:
    there = _usable(fact)
    if host.gpu is None or host.gpu in there:
        return
    if not there:
        raise PlanError(
            f"the profile asks for gpu = {host.gpu}, but MLX computes on no card of this host",
            "remove gpu from this host in the profile; `mlxring check` says what it has",
            host=host.name,
        )
    raise PlanError(
        f"the profile asks for gpu = {host.gpu}; MLX can use {', '.join(map(str, there))} of its cards",
        f"write gpu = {there[0]}, or remove the key",
        host=host.name,
    )
