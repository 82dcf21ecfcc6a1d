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
from ringcore.spec.profile import CacheOptions, Profile
from ringcore.spec.units import GIB, MIB, parse_bytes
from tests.planning.worlds import facts, hosts, model, profile


def taken(remedy: str, card: ModelCard, ring: Profile, told: list[HostFacts]) -> bool:
    """Plans with one line of the message done. False: what it says cannot be done here."""
    keys = re.findall(r"(\w+) = \"?(\w+)\"?", remedy)
    if keys:
        values = {key: value == "true" if value == "true" else value for key, value in keys}
        values = {key: int(v) if isinstance(v, str) and v.isdecimal() else v for key, v in values.items()}
        if "under [cache]" in remedy:
            ring = structs.replace(ring, cache=structs.replace(ring.cache, **values))
        else:
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
    head=st.sampled_from([0, 80, 96, 128]),
    kv_bits=st.sampled_from([16, 8, 4]),
)
@settings(max_examples=200, deadline=None)
def test_every_remedy_is_enough(
    sizes: list[int],
    free: list[int],
    context: int,
    sequences: int,
    objective: str,
    order: str,
    head: int,
    kv_bits: int,
) -> None:
    layers = tuple(
        LayerCard(size * MIB, 4096, four_bit_bytes=size * MIB * 4 // 8, kv_head=head) for size in sizes
    )
    light = {"four_bit_embedding_bytes": 25 * MIB, "four_bit_head_bytes": 25 * MIB}
    card = structs.replace(model(), layers=layers, quantization="8-bit g64", **light)
    ring = profile(hosts(len(free)), context=context, sequences=sequences, objective=objective, order=order)
    if head % 32 == 0 and head:
        ring = structs.replace(ring, cache=CacheOptions(kv_bits=kv_bits))
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


def test_caches_in_few_bits_are_named_where_they_are_enough_the_most_bits_first() -> None:
    layers = tuple(LayerCard(20 * MIB, 4096, kv_head=128) for _ in range(8))
    card = structs.replace(model(), layers=layers)
    ring = profile(hosts(1), context=16_384, sequences=2)
    said: list[str] = []
    for free in (950, 550):  # the caches take 1 GiB in float32, 288 MiB with 8 bits, 160 MiB with 4
        with pytest.raises(PlanError) as caught:
            make_plan(card, ring, facts(free * MIB), {})
        said.append(caught.value.failure.remedy)
    assert "kv_bits = 8 under [cache]" in said[0] and "kv_bits = 4 under [cache]" in said[1]
    for number in (0, 1):
        assert said[number].count("kv_bits") == 1
    unknown = structs.replace(card, layers=tuple(structs.replace(layer, kv_head=80) for layer in layers))
    with pytest.raises(PlanError) as caught:
        make_plan(unknown, ring, facts(950 * MIB), {})
    assert "kv_bits" not in caught.value.failure.remedy
