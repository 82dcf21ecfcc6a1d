"""The shortest way of a token where some hosts force float32 on all ranks: with them, or without them in the
dtype that the model is stored in. Pure.
"""

from collections.abc import Mapping, Sequence

from msgspec import structs

from ringcore.planning.plan import make_plan
from ringcore.spec.card import ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import Profile


def halves(facts: Sequence[HostFacts]) -> tuple[int, ...]:
    """Places of the hosts that compute in half precision as fast as they read; processors under Linux take
    many times as long."""
    return tuple(place for place, fact in enumerate(facts) if fact.os != "linux" or fact.cuda)


def may_leave_out(profile: Profile, facts: Sequence[HostFacts]) -> bool:
    """Whether there is a choice: the plan may leave out hosts, and those that force float32 are not all of
    them and not the leader."""
    some = halves(facts)
    return (
        profile.ring.objective == "latency"
        and profile.ring.dtype == "auto"
        and not profile.ring.layers
        and 0 in some
        and len(some) < len(facts)
    )


def make_mixed_plan(
    whole: ModelCard,
    stored: ModelCard,
    profile: Profile,
    facts: Sequence[HostFacts],
    environment: Mapping[str, str],
) -> Plan:
    """``whole``: the model in float32, ``stored``: as it is. Raises what `make_plan` does for all hosts, when
    neither fits."""
    with_all: Plan | None = None
    refused: PlanError | None = None
    try:
        with_all = make_plan(whole, profile, facts, environment)
    except PlanError as error:
        refused = error
    inside = halves(facts)
    try:
        without = make_plan(stored, profile, facts, environment, among=inside)
    except PlanError:
        without = None
    if without is None or (with_all and with_all.tokens_per_second > without.tokens_per_second):
        if with_all is None:
            assert refused is not None
            raise refused
        return with_all
    left = ", ".join(host.name for place, host in enumerate(profile.hosts) if place not in inside)
    line = f"left out, so that the ranks compute in {without.dtype} and not in float32: {left}"
    if with_all is not None:
        line += (
            f"; with float32 there would be {with_all.tokens_per_second:.1f} tokens/s of one conversation, "
            f"in place of {without.tokens_per_second:.1f}"
        )
    return structs.replace(without, explanation=(*without.explanation, f"{line}.")).sealed()
