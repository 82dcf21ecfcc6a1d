"""Which host counts as how fast, before anything was measured."""

import pytest

from ringcore.planning.speed import speeds
from ringcore.spec.units import GIB
from tests.planning.worlds import facts


def test_one_chip_everywhere_is_one_speed_even_with_other_core_counts() -> None:
    told = facts(GIB, chip="x", cores=4) + facts(GIB, chip="x", cores=64)
    assert speeds(told, (1, 1))[0] == (1.0, 1.0)


def test_known_chips_count_by_their_memory_bandwidth() -> None:
    told = facts(GIB, chip="Apple M2 Ultra") + facts(GIB, chip="Apple M4") + facts(GIB, chip="Apple M4 Pro")
    figures, why = speeds(told, (1, 1, 1))
    assert figures == (800, 120, 273)
    assert "memory" in why


def test_a_chip_that_is_not_known_makes_cores_count_and_says_so() -> None:
    told = facts(GIB, chip="Apple M2 Ultra", cores=24) + facts(GIB, chip="Apple M99 Max", cores=12)
    figures, why = speeds(told, (1, 1))
    assert figures == (24, 12)
    assert "cores" in why and "nothing is measured" in why


def test_ranks_on_one_machine_share_its_speed() -> None:
    figures, why = speeds(facts(GIB, GIB, GIB), (2, 2, 1))
    assert figures == (0.5, 0.5, 1.0)
    assert "share" in why


def test_without_cores_and_chips_all_are_equal() -> None:
    told = facts(GIB, chip="a", cores=0) + facts(GIB, chip="b", cores=4)
    assert speeds(told, (1, 1))[0] == pytest.approx((1.0, 1.0))
