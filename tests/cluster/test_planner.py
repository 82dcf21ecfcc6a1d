"""The plan of what hosts say: in which dtypes the model's card is read, and what the plan is made of."""

from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from msgspec import structs

from console.cluster.planner import Planner
from ringcore.spec.card import ModelCard
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import Profile
from ringcore.spec.units import GIB
from tests.planning.test_left_out import LATENCY, halved, mixed
from tests.planning.worlds import facts, hosts, model, profile


class Machines:
    """Hosts that were reached and whose facts are known."""

    def __init__(self, profile: Profile, told: Sequence[HostFacts]) -> None:
        self.profile = profile
        self.facts = {host.name: fact for host, fact in zip(profile.hosts, told, strict=True)}

    async def each(self, step: str, act: Callable[[Any], Awaitable[object]]) -> list[Exception]:
        for options in self.profile.hosts:
            await act(SimpleNamespace(options=options))
        return []


class Cards:
    """The model on every host, twice as large in float32 as it is stored."""

    def __init__(self) -> None:
        self.read: list[str] = []

    async def card(self, host: Any, facts: HostFacts, made: str, dtype: str) -> ModelCard:
        self.read.append(f"{host.options.name} {dtype}")
        return model() if dtype == "float32" else halved(model())


async def nothing_to_make(progress: object) -> str:
    raise AssertionError("only the demo model is made")


def planner(ring: Profile, told: Sequence[HostFacts]) -> tuple[Planner, Cards]:
    cards = Cards()
    return Planner(cast(Any, Machines(ring, told)), cast(Any, cards), nothing_to_make, {}), cards


async def test_where_a_processor_may_be_left_out_the_model_is_read_in_both_dtypes() -> None:
    planning, cards = planner(LATENCY, mixed(60, 60))
    plan = await planning.make()
    assert cards.read == ["h0 float32", "h0 stored", "h1 float32", "h1 stored"]
    assert ([stage.host for stage in plan.stages], plan.dtype) == (["h0"], "bfloat16")


@pytest.mark.parametrize(
    ("ring", "told", "dtype"),
    [
        (profile(hosts(2)), mixed(60, 60), "float32"),
        (LATENCY, facts(8 * GIB, 8 * GIB), "float32"),
        (LATENCY, facts(8 * GIB, 8 * GIB, os="darwin", chip="Apple M4"), "stored"),
    ],
)
async def test_else_it_is_read_once(ring: Profile, told: list[HostFacts], dtype: str) -> None:
    planning, cards = planner(ring, told)
    await planning.make()
    assert cards.read == [f"h0 {dtype}", f"h1 {dtype}"]


async def test_what_is_asked_only_goes_by_what_was_read() -> None:
    planning, _ = planner(LATENCY, mixed(60, 60))
    await planning.make()
    all_hosts = structs.replace(LATENCY, ring=structs.replace(LATENCY.ring, objective="throughput"))
    plan = planning.planned_for(all_hosts)
    assert ([stage.host for stage in plan.stages], plan.dtype) == (["h0", "h1"], "float32")
