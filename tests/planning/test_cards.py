"""Several cards in one machine: which rank computes on which, and that ranks with their own share nothing."""

import pytest
from msgspec import structs

from ringcore.planning.cards import cards
from ringcore.planning.plan import make_plan
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import Gpu, HostFacts
from ringcore.spec.profile import HostOptions, Profile
from ringcore.spec.units import GIB
from tests.planning.worlds import facts, local_hosts, model, profile


def card(free: int = 70, capability: tuple[int, int] = (9, 0)) -> Gpu:
    return Gpu(
        name="NVIDIA H100 80GB HBM3",
        total_memory_bytes=80 * GIB,
        free_memory_bytes=free * GIB,
        driver=(580, 95, 5),
        capability=capability,
    )


OLD = card(8, (6, 1))


def ring(count: int, *wanted: int | None) -> Profile:
    """``count`` ranks on one machine; ``wanted`` as the profile has ``gpu``."""
    options = local_hosts(count)
    named = [structs.replace(host, gpu=gpu) for host, gpu in zip(options, wanted, strict=False)]
    return profile((*named, *options[len(named) :]))


def machine(count: int, *gpus: Gpu) -> list[HostFacts]:
    """What ``count`` ranks read of the one machine they are on."""
    return facts(*[200 * GIB] * count, gpus=gpus)


@pytest.mark.parametrize(
    ("wanted", "gpus", "expected"),
    [
        ((None, None), (card(), card()), (0, 1)),
        ((None, None, None), (card(),) * 4, (0, 1, 2)),
        ((None, None), (card(),), (None, None)),
        ((None, None, None), (card(), card()), (None, None, None)),
        ((None, None), (), (None, None)),
        ((None,), (card(), card()), (None,)),
        ((1,), (card(), card()), (1,)),
        ((1, None), (card(), card()), (1, 0)),
        ((None, 0), (card(), card()), (1, 0)),
        ((1, 1), (card(), card()), (1, 1)),
        ((None, None), (card(), OLD, card()), (0, 2)),
        ((None, None), (card(), OLD), (None, None)),
        ((None, None), (OLD, card(), card()), (None, None)),
    ],
)
def test_ranks_on_one_machine_take_a_card_each_where_there_are_as_many(
    wanted: tuple[int | None, ...], gpus: tuple[Gpu, ...], expected: tuple[int | None, ...]
) -> None:
    count = len(wanted)
    assert cards(ring(count, *wanted), machine(count, *gpus)) == expected


def test_machines_count_their_cards_apart() -> None:
    pairs = tuple(HostOptions(name=f"h{n}", ssh=f"box{n // 2}", address=f"10.0.0.{n + 1}") for n in range(4))
    told = machine(2, card(), card()) + machine(2, card())
    assert cards(profile(pairs), told) == (0, 1, None, None)


def test_a_card_of_its_own_is_a_ranks_memory_and_speed_and_the_plan_says_which() -> None:
    shared = make_plan(model(), ring(2), machine(2, card(70)), {})
    own = make_plan(model(), ring(2), machine(2, card(70), card(60)), {})
    assert [stage.gpu for stage in shared.stages] == [None, None]
    assert [stage.ceiling_bytes // GIB for stage in shared.stages] == [35, 35]
    assert [stage.gpu for stage in own.stages] == [0, 1]
    assert [stage.ceiling_bytes // GIB for stage in own.stages] == [70, 60]
    for alone, half in zip(own.stages, shared.stages, strict=True):
        assert alone.bytes_per_second == pytest.approx(2 * half.bytes_per_second)
    assert "cards, as nvidia-smi numbers them: h0 0, h1 1." in own.explanation
    assert not any("nvidia-smi" in line for line in shared.explanation)


def test_the_card_that_the_profile_names_is_the_one_that_is_counted() -> None:
    plan = make_plan(model(), ring(1, 1), machine(1, card(70), card(60)), {})
    assert (plan.stages[0].gpu, plan.stages[0].ceiling_bytes // GIB) == (1, 60)


def test_a_card_whose_memory_is_the_hosts_shares_it() -> None:
    one = structs.replace(card(), total_memory_bytes=0, free_memory_bytes=0)
    plan = make_plan(model(), ring(2), machine(2, one, one), {})
    assert [stage.gpu for stage in plan.stages] == [0, 1]
    assert [stage.ceiling_bytes // GIB for stage in plan.stages] == [100, 100]


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ((card(), card()), "MLX can use 0, 1"),
        ((card(), card(), OLD), "MLX can use 0, 1"),
        ((OLD,), "no card of this host"),
        ((), "no card of this host"),
    ],
)
def test_a_card_that_is_not_there_is_refused_by_name(gpus: tuple[Gpu, ...], words: str) -> None:
    with pytest.raises(PlanError, match="gpu = 2") as caught:
        make_plan(model(), ring(1, 2), machine(1, *gpus), {})
    failure = caught.value.failure
    assert words in failure.cause and failure.host == "h0" and "gpu" in failure.remedy
