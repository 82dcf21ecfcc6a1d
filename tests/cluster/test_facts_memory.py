"""Memory, swap, GPU and system of a host, from output in the format of macOS 14, 15, 26, Linux and CUDA."""

import pytest

from console.cluster.facts import read_facts
from console.cluster.facts_memory import (
    Memory,
    parse_gpus,
    parse_mac_memory,
    parse_meminfo,
    parse_os_version,
)
from console.cluster.model import ring_dtype
from ringcore.planning.bandwidth import chip_of
from ringcore.planning.capacity import rooms
from ringcore.spec.facts import Gpu, HostFacts
from ringcore.spec.units import GIB, KIB, MIB
from tests.cluster.reach import options
from tests.planning.worlds import hosts, profile

PAGE = 16384
MEMINFO = """\
MemTotal:       65764588 kB
MemFree:         1203412 kB
MemAvailable:   48211240 kB
Buffers:          812344 kB
Cached:         44120012 kB
SwapCached:            0 kB
SwapTotal:       8388604 kB
SwapFree:        8126460 kB
HugePages_Total:       0
"""
OLD_KERNEL = "MemTotal: 1000 kB\nMemFree: 10 kB\n"
VM_STAT = """\
Mach Virtual Memory Statistics: (page size of 16384 bytes)
Pages free:                               10240.
Pages active:                            401221.
Pages inactive:                          398112.
Pages speculative:                         2048.
Pages throttled:                              0.
Pages wired down:                        141390.
Pages purgeable:                           5120.
"Translation faults":                4023110934.
Pages copy-on-write:                  110293817.
Pages zero filled:                   2011223344.
File-backed pages:                       230123.
Anonymous pages:                         571258.
Pages stored in compressor:              300000.
Pages occupied by compressor:             98111.
Swapins:                                      0.
Swapouts:                                     0.
"""
INTEL_VM_STAT = """\
Mach Virtual Memory Statistics: (page size of 4096 bytes)
Pages free:                              100000.
Pages inactive:                          200000.
"""
SMI = "NVIDIA H100 80GB HBM3, 81559, 81008, 580.95.05, 9.0\n"
SMI_PAIR = """\
NVIDIA GeForce RTX 3090, 24576, 20100, 560.35.03, 8.6
NVIDIA GeForce GTX 1080, 8192, 8000, 560.35.03, 6.1
"""
SMI_OLD = 'Field "compute_cap" is not a valid field to query.\n\nTesla T4, 15360, 15109, 470.82.01\n'
SMI_SHARED = "NVIDIA GB10, [N/A], [N/A], 580.82.09, 12.1\n"
SMI_BROKEN = (
    "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
    "NVIDIA driver is installed and running.\n"
)


def mac(**changes: str) -> HostFacts:
    """A Mac by its own commands: 48 GiB, an M4 Pro, macOS 15."""
    found = {
        "uname": "Darwin arm64\n", "user": "op\n", "home": "/Users/op\n", "shell": "/bin/zsh\n",
        "clock": "1760000000\n", "disk": "", "uv": "", "rings": "", "pythons": "", "cores": "14\n",
        "memsize": "51539607552\n", "vm_stat": VM_STAT, "chip": "Apple M4 Pro\n", "ifconfig": "", "ports": "",
        "os_version": "15.6.1\n", "swap": "total = 2048.00M  used = 1056.75M  free = 991.25M  (encrypted)\n",
        "wired_limit": "0\n", "gpu_cores": '      "gpu-core-count" = 20\n', "end": "",
    }  # fmt: skip
    return read_facts(found | changes, options(), 1760000000.2, 1760000000.4)


def linux(gpus: str = "", **changes: str) -> HostFacts:
    found = {
        "uname": "Linux x86_64\n", "user": "op\n", "home": "/home/op\n", "shell": "/bin/bash\n",
        "clock": "1760000000\n", "disk": "", "uv": "", "rings": "", "pythons": "", "cores": "16\n",
        "meminfo": MEMINFO, "chip": "model name\t: AMD EPYC 9354 32-Core Processor\n", "addresses": "",
        "wireless": "", "os_version": 'PRETTY_NAME="Ubuntu 24.04.3 LTS"\n', "gpus": gpus, "end": "",
    }  # fmt: skip
    return read_facts(found | changes, options(), 1760000000.2, 1760000000.4)


def test_linux_memory_is_what_programs_can_have_and_how_much_of_it_caches_hold() -> None:
    assert parse_meminfo(MEMINFO) == Memory(
        total=65764588 * KIB,
        available=48211240 * KIB,
        reclaimable=(48211240 - 1203412) * KIB,
        swap=8388604 * KIB,
        swap_used=(8388604 - 8126460) * KIB,
    )


def test_what_a_kernel_does_not_tell_is_nothing() -> None:
    assert parse_meminfo(OLD_KERNEL) == Memory(total=1000 * KIB)


def test_mac_memory_counts_what_is_given_up_on_demand_in_the_pages_of_its_chip() -> None:
    swap = "total = 2048.00M  used = 1056.75M  free = 991.25M  (encrypted)\n"
    given_up = (398112 + 2048 + 5120) * PAGE
    assert parse_mac_memory(48 * GIB, VM_STAT, swap) == Memory(
        total=48 * GIB,
        available=10240 * PAGE + given_up,
        reclaimable=given_up,
        swap=2048 * MIB,
        swap_used=int(1056.75 * MIB),
    )
    small = parse_mac_memory(8 * GIB, INTEL_VM_STAT, "total = 0.00M  used = 0.00M  free = 0.00M\n")
    assert (small.available, small.swap) == (300000 * 4096, 0)


def test_a_mac_cannot_have_more_available_than_it_has() -> None:
    assert parse_mac_memory(GIB, VM_STAT, "").available == GIB


@pytest.mark.parametrize(
    ("version", "chip", "cores", "gpu", "gpu_cores", "bandwidth"),
    [
        ("14.7.1", "Apple M1", "8", '"gpu-core-count" = 8', 8, 68),
        ("14.5", "Apple M2 Ultra", "24", '"gpu-core-count" = 76', 76, 800),
        ("15.6.1", "Apple M3 Max", "16", '"gpu-core-count" = 40', 40, 400),
        ("15.3", "Apple M3 Max", "14", '"gpu-core-count" = 30', 30, 300),
        ("15.3", "Apple M4 Max", "16", "", 0, 546),
        ("15.3", "Apple M4 Max", "14", "", 0, 410),
        ("26.1", "Apple M4", "10", '    "gpu-core-count" = 10', 10, 120),
        ("26.0.1", "Apple M5", "10", '  | "gpu-core-count" = 10', 10, 153),
        ("26.3", "Apple M5 Max", "18", '"gpu-core-count" = 40', 40, 614),
        ("26.3", "Apple M5 Max", "18", "", 0, 460),
    ],
)
def test_every_mac_is_known_by_version_chip_and_gpu(
    version: str, chip: str, cores: str, gpu: str, gpu_cores: int, bandwidth: float
) -> None:
    fact = mac(os_version=f"{version}\n", chip=f"{chip}\n", cores=f"{cores}\n", gpu_cores=f"{gpu}\n")
    assert (fact.os_version, fact.chip, fact.gpu_cores) == (version, chip, gpu_cores)
    assert chip_of(fact).bandwidth == bandwidth and chip_of(fact).compute > 2
    assert fact.cuda is None


def test_a_limit_that_the_operator_set_for_the_gpu_counts_instead_of_what_macos_would_give() -> None:
    free = {"vm_stat": VM_STAT.replace("10240.", "2900000.")}  # nearly all of 48 GiB
    for said, expected in (("0\n", 36 * GIB), ("44000\n", 44000 * MIB), ("", 36 * GIB)):
        fact = mac(wired_limit=said, **free)
        (room,) = rooms(profile(hosts(1)), [fact], {})
        share = room.ceiling_bytes / fact.available_memory_bytes
        most = min(expected * share, room.ceiling_bytes - 4 * GIB)
        assert room.usable_bytes == pytest.approx(most, rel=1e-6), said


def test_an_nvidia_card_is_what_its_driver_says() -> None:
    assert parse_gpus(SMI) == (
        Gpu(
            name="NVIDIA H100 80GB HBM3",
            total_memory_bytes=81559 * MIB,
            free_memory_bytes=81008 * MIB,
            driver=(580, 95, 5),
            capability=(9, 0),
        ),
    )
    assert [gpu.capability for gpu in parse_gpus(SMI_PAIR)] == [(8, 6), (6, 1)]


def test_complaints_of_the_driver_are_no_cards() -> None:
    assert parse_gpus(SMI_BROKEN) == ()
    assert [(gpu.name, gpu.capability) for gpu in parse_gpus(SMI_OLD)] == [("Tesla T4", ())]


@pytest.mark.parametrize(
    ("gpus", "usable"),
    [(SMI, True), (SMI_PAIR, True), (SMI_SHARED, True), (SMI_OLD, False), (SMI_BROKEN, False), ("", False),
     ("NVIDIA GeForce GTX 1080, 8192, 8000, 560.35.03, 6.1\n", False)],
)  # fmt: skip
def test_a_card_counts_when_mlx_can_use_it_and_then_its_dtype_and_memory_do(gpus: str, usable: bool) -> None:
    fact = linux(gpus)
    assert (fact.cuda is not None) == usable
    assert ring_dtype(profile(hosts(2)), [fact, mac()]) == ("stored" if usable else "float32")
    (room,) = rooms(profile(hosts(1)), [fact], {})
    own = usable and gpus is not SMI_SHARED
    expected = fact.gpus[0].free_memory_bytes if own else fact.available_memory_bytes
    assert room.ceiling_bytes == expected
    assert room.ceiling_source == ("free memory of its GPU" if own else "free memory of the host")


def test_systems_are_named_as_they_name_themselves() -> None:
    assert linux().os_version == "Ubuntu 24.04.3 LTS"
    assert parse_os_version("6.8.0-generic\n") == "6.8.0-generic"
    assert parse_os_version("") == ""
