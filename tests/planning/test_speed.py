"""Which host counts as how fast, before anything was measured."""

import pytest

from ringcore.planning.speed import speeds
from ringcore.spec.facts import HostFacts
from ringcore.spec.units import GIB
from tests.planning.worlds import facts


def figures(told: list[HostFacts], mates: tuple[int, ...]) -> tuple[float, ...]:
    """GB/s of each rank."""
    return tuple(round(speed.bytes_per_second / 1e9, 6) for speed in speeds(told, mates)[0])


def test_one_chip_everywhere_is_one_speed_even_with_other_core_counts() -> None:
    told = facts(GIB, chip="x", cores=4) + facts(GIB, chip="x", cores=64)
    assert len(set(figures(told, (1, 1)))) == 1
    assert all(speed.assumed and "assumed" in speed.source for speed in speeds(told, (1, 1))[0])


def test_known_chips_count_by_what_decoding_reaches_of_their_memory_bandwidth() -> None:
    told = facts(GIB, chip="Apple M2 Ultra") + facts(GIB, chip="Apple M4") + facts(GIB, chip="Apple M4 Pro")
    assert figures(told, (1, 1, 1)) == pytest.approx((0.85 * 800, 0.85 * 120, 0.85 * 273))
    found, why = speeds(told, (1, 1, 1))
    assert "memory" in why and found[1].source == "85% of the 120 GB/s of an Apple M4"
    assert not any(speed.assumed for speed in found)


def test_one_known_chip_everywhere_has_its_own_speed() -> None:
    assert figures(facts(GIB, GIB, chip="Apple M4"), (1, 1)) == pytest.approx((102, 102))


def test_a_chip_that_is_not_known_makes_cores_count_and_says_so() -> None:
    told = facts(GIB, chip="Apple M2 Ultra", cores=24) + facts(GIB, chip="Apple M99 Max", cores=12)
    first, second = figures(told, (1, 1))
    assert first == 2 * second
    why = speeds(told, (1, 1))[1]
    assert "cores" in why and "nothing is measured" in why


def test_ranks_on_one_machine_share_its_speed() -> None:
    first, second, alone = figures(facts(GIB, GIB, GIB), (2, 2, 1))
    assert first == second == alone / 2
    found, why = speeds(facts(GIB, GIB, GIB), (2, 2, 1))
    assert "share" in why and found[0].source.startswith("1/2 of")


def test_without_cores_and_chips_all_are_equal() -> None:
    told = facts(GIB, chip="a", cores=0) + facts(GIB, chip="b", cores=4)
    assert len(set(figures(told, (1, 1)))) == 1
