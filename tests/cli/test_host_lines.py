"""What `check` tells of a host: the figures for its kind, where they come from, and how old they are."""

import msgspec
import pytest

from console.commands.host_lines import age, host_lines
from ringcore.spec.facts import Gpu, HostFacts, Measured
from ringcore.spec.units import GIB
from tests.cluster.test_needs import FACTS

NOW = 1_790_000_000.0
CPU = Measured(bandwidth=38.25, compute=0.21, computes_with="cpu, OpenBLAS", when=NOW - 7200)
MAC = msgspec.structs.replace(
    FACTS, os="darwin", os_version="26.1", chip="Apple M4 Pro", gpu_cores=20, total_memory_bytes=48 * GIB,
    available_memory_bytes=40 * GIB, reclaimable_memory_bytes=9 * GIB,
    swap_bytes=2 * GIB, swap_used_bytes=GIB,
)  # fmt: skip
CARD = Gpu(
    name="NVIDIA L4", total_memory_bytes=24 * GIB, free_memory_bytes=22 * GIB, driver=(580, 95),
    capability=(8, 9),
)  # fmt: skip


def told(facts: HostFacts, just_measured: Measured | None = None) -> str:
    return "\n".join(host_lines(facts, NOW, just_measured))


def test_a_mac_is_told_with_its_gpus_limit_and_its_makers_figures() -> None:
    text = told(MAC)
    assert "26.1" in text and "Apple M4 Pro, 20 GPU cores, its GPU may hold 36.0 GiB (by default)" in text
    assert (
        "memory 40.0 GiB of 48.0 GiB free, 9.0 GiB of it held by caches; swap 1.0 GiB of 2.0 GiB used" in text
    )
    assert "reads 273 GB/s" in text and "maker's figures" in text
    set_by_hand = msgspec.structs.replace(MAC, wired_limit_bytes=42 * GIB)
    assert "its GPU may hold 42.0 GiB (iogpu.wired_limit_mb)" in told(set_by_hand)


def test_a_card_is_told_with_its_own_memory_and_others_are_not_passed_over() -> None:
    text = told(msgspec.structs.replace(FACTS, gpus=(CARD, CARD)))
    assert "NVIDIA L4, 22.0 GiB of 24.0 GiB free (and 1 more card)" in text
    assert "reads 300 GB/s" in text


def test_a_card_that_cannot_be_used_is_named() -> None:
    old = msgspec.structs.replace(CARD, driver=(470, 1))
    assert "NVIDIA L4 is too old, or its driver is" in told(msgspec.structs.replace(FACTS, gpus=(old,)))


def test_a_processor_says_that_its_speed_is_not_known_until_it_is_measured() -> None:
    assert "check --measure" in told(FACTS)
    text = told(msgspec.structs.replace(FACTS, measured=CPU))
    assert "reads 38.2 GB/s, computes 0.21 TFLOPS (cpu, OpenBLAS), measured 2 hours ago" in text


def test_a_measurement_of_another_device_is_told_and_does_not_count() -> None:
    text = told(MAC, just_measured=CPU)
    assert "38.2 GB/s" in text and "does not count: provision first" in text
    kept = msgspec.structs.replace(FACTS, measured=CPU)
    assert "does not count" not in told(kept, just_measured=CPU)


def test_what_hosts_say_is_text_and_nothing_else() -> None:
    evil = msgspec.structs.replace(FACTS, chip="x\x1b[31m[bold]", os_version="y\nz")
    assert "\x1b" not in told(evil) and len(host_lines(evil, NOW)) == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "just now"), (5 * 3600, "5 hours ago"), (3 * 86400, "3 days ago"),
     (120 * 86400, "120 days ago: measure again")],
)  # fmt: skip
def test_age_is_told_in_the_unit_that_matters(seconds: float, text: str) -> None:
    assert age(seconds) == text
