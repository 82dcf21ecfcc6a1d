"""Whatever the message names as enough is enough: every remedy of random clusters, taken at its word."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ringcore.planning.bits import at_four_bits
from ringcore.planning.plan import make_plan
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import Profile
from ringcore.spec.units import GIB, MIB, parse_bytes
from tests.planning.worlds import facts, hosts, model, profile


def taken(remedy: str, card: ModelCard, ring: Profile, told: list[HostFacts]) -> bool:
    """Plans with one line of the message done. False: what it says cannot be done here."""
    keys = re.findall(r"(\w+) = \"?(\w+)\"?", remedy)
    if keys:
        values = {key: value == "true" if value == "true" else value for key, value in keys}
        values = {key: int(v) if isinstance(v, str) and v.isdecimal() else v for key, v in values.items()}
        ring = structs.replace(ring, ring=structs.replace(ring.ring, **values))
    elif "remove ring.layers" in remedy:
        ring = structs.replace(ring, ring=structs.replace(ring.ring, layers=()))
    elif found := re.search(r"remove (\w+) from the profile", remedy):
        left = [n for n, host in enumerate(ring.hosts) if host.name != found[1]]
        ring = structs.replace(ring, hosts=tuple(ring.hosts[n] for n in left))
        told = [told[n] for n in left]
    elif "4-bit" in remedy:
        lighter = at_four_bits(card)
        assert lighter is not None
        card = lighter
    elif found := re.search(r"one more host.* has ([\d.]+ .iB) for the ring", remedy):
        size = parse_bytes(found[1])
        ring = structs.replace(ring, hosts=hosts(len(ring.hosts) + 1))
        told = [*told, *facts(max(size * 10 // 9, size + 4 * GIB if size > 36 * GIB else 0) + MIB)]
    else:
        return False
    make_plan(card, ring, told, {})
    return True


@given(
    sizes=st.lists(st.integers(20, 300), min_size=4, max_size=14),
    free=st.lists(st.integers(30, 1200), min_size=1, max_size=4),
    context=st.integers(256, 20_000),
    sequences=st.integers(1, 12),
    objective=st.sampled_from(["throughput", "latency", "memory", "equal"]),
    order=st.sampled_from(["reverse", "forward"]),
)
@settings(max_examples=200, deadline=None)
def test_every_remedy_is_enough(
    sizes: list[int], free: list[int], context: int, sequences: int, objective: str, order: str
) -> None:
    layers = tuple(LayerCard(size * MIB, 4096, four_bit_bytes=size * MIB * 4 // 8) for size in sizes)
    light = {"four_bit_embedding_bytes": 25 * MIB, "four_bit_head_bytes": 25 * MIB}
    card = structs.replace(model(), layers=layers, quantization="8-bit g64", **light)
    ring = profile(hosts(len(free)), context=context, sequences=sequences, objective=objective, order=order)
    told = facts(*[each * MIB for each in free])
    try:
        make_plan(card, ring, told, {})
    except PlanError as error:
        remedy = error.failure.remedy
        lines = re.findall(r"\n    - (.*)", remedy) or [remedy]
        assert 1 <= len(lines) <= 3
        for line in lines:
            assert taken(line, card, ring, told) or "smaller model" in line, line


def test_a_remedy_that_says_too_little_would_be_noticed() -> None:
    card, told = model(12), facts(1 * GIB)
    with pytest.raises(PlanError):
        taken("write context = 900 under [ring]", card, profile(hosts(1)), told)
