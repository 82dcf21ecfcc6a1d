"""Which host counts as how fast: as measured, by its chip, or by its cores."""

import msgspec
import pytest

from ringcore.planning import chips
from ringcore.planning.bandwidth import chip_of
from ringcore.planning.speed import speeds
from ringcore.spec.facts import Gpu, HostFacts, Measured
from ringcore.spec.units import GIB
from tests.planning.worlds import facts

DAY = 1_790_000_000.0  # 2026-09-21


def measured(fact: HostFacts, bandwidth: float) -> HostFacts:
    found = Measured(bandwidth=bandwidth, compute=1.0, computes_with="gpu", when=DAY)
    return msgspec.structs.replace(fact, measured=found)


def card(name: str) -> HostFacts:
    gpu = Gpu(name=name, total_memory_bytes=GIB, free_memory_bytes=GIB, driver=(580, 1), capability=(9, 0))
    return facts(GIB, gpus=(gpu,))[0]


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
    assert "cores" in why and "not all are measured" in why and "check --measure" in why


def test_ranks_on_one_machine_share_its_speed() -> None:
    first, second, alone = figures(facts(GIB, GIB, GIB), (2, 2, 1))
    assert first == second == alone / 2
    found, why = speeds(facts(GIB, GIB, GIB), (2, 2, 1))
    assert "share" in why and found[0].source.startswith("1/2 of")


def test_without_cores_and_chips_all_are_equal() -> None:
    told = facts(GIB, chip="a", cores=0) + facts(GIB, chip="b", cores=4)
    assert len(set(figures(told, (1, 1)))) == 1


def test_one_name_with_two_bandwidths_is_not_one_chip() -> None:
    told = facts(GIB, chip="Apple M4 Max", gpu_cores=32) + facts(GIB, chip="Apple M4 Max", gpu_cores=40)
    assert figures(told, (1, 1)) == pytest.approx((0.85 * 410, 0.85 * 546))
    assert "same chip" not in speeds(told, (1, 1))[1]


def test_a_card_counts_beside_apples_chips_by_its_own_memory() -> None:
    told = [card("NVIDIA GeForce RTX 4090"), *facts(GIB, chip="Apple M4 Pro")]
    assert figures(told, (1, 1)) == pytest.approx((0.85 * 1008, 0.85 * 273))


def test_what_was_measured_counts_before_the_table_and_the_plan_says_when() -> None:
    told = facts(GIB, chip="Apple M2 Ultra") + facts(GIB, chip="Apple M4")
    told = [measured(told[0], 640.0), told[1]]
    assert figures(told, (1, 1)) == pytest.approx((640, 0.85 * 120))
    why = speeds(told, (1, 1))[1]
    assert "h0 640 GB/s measured on 2026-09-21" in why and "h0 85% of the 120 GB/s of an Apple M4" in why


def test_measuring_makes_unlike_processors_comparable_only_when_all_are_known() -> None:
    told = facts(GIB, chip="Xeon", cores=32) + facts(GIB, chip="Ryzen", cores=8)
    first, second = figures([measured(told[0], 90.0), told[1]], (1, 1))
    assert first == 4 * second
    assert figures([measured(told[0], 90.0), measured(told[1], 45.0)], (1, 1)) == (90, 45)


@pytest.mark.parametrize(
    ("name", "bandwidth"),
    [
        ("NVIDIA H100 80GB HBM3", 3350), ("NVIDIA H100 PCIe", 2000), ("NVIDIA H100 NVL", 3900),
        ("NVIDIA H200", 4800), ("NVIDIA H20", 4000), ("NVIDIA A100-SXM4-80GB", 2039),
        ("NVIDIA A100 80GB PCIe", 1935), ("NVIDIA A100-PCIE-40GB", 1555), ("NVIDIA A10G", 600),
        ("NVIDIA L4", 300), ("NVIDIA L40S", 864), ("Tesla T4", 320),
        ("Tesla V100-SXM2-32GB", 900), ("NVIDIA GB10", 273),
        ("NVIDIA GeForce RTX 3090", 936), ("NVIDIA GeForce RTX 3090 Ti", 1008),
        ("NVIDIA GeForce RTX 5090", 1792), ("NVIDIA GeForce RTX 4070 Laptop GPU", 0),
        ("NVIDIA GeForce RTX 4060 Ti", 288), ("NVIDIA RTX 6000 Ada Generation", 960),
        ("NVIDIA RTX A6000", 768), ("NVIDIA GeForce RTX 50901", 0), ("NVIDIA GeForce GTX 1080", 0), ("", 0),
    ],
)  # fmt: skip
def test_cards_are_known_by_the_names_that_their_driver_gives_them(name: str, bandwidth: float) -> None:
    assert chips.nvidia(name).bandwidth == bandwidth
    assert (chips.nvidia(name).compute > 0) == (bandwidth > 0)


def test_every_apple_chip_has_both_figures_and_more_of_them_where_there_is_more_of_it() -> None:
    for family in ("M1", "M2", "M3", "M4", "M5"):
        plain, pro = (chips.apple(f"Apple {family}{variant}") for variant in ("", " Pro"))
        assert 0 < plain.bandwidth < pro.bandwidth and 0 < plain.compute < pro.compute
        assert chips.apple(f"Apple {family}", gpu_cores=10).compute > plain.compute
    assert chips.apple("Apple M10").bandwidth == chips.apple("Apple M4 Maximum").bandwidth == 0.0


def test_a_processor_under_linux_has_no_figure() -> None:
    assert chip_of(facts(GIB, chip="AMD Ryzen 9 7950X")[0]).bandwidth == 0.0
