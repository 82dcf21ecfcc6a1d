"""Figures of real hosts that their owners published, each with its page, in the format of the command that
printed them. The figures are theirs; the lines around them are the command's.
"""

import pytest

from console.cluster.facts_memory import Memory, parse_gpus, parse_mac_memory, parse_meminfo
from console.cluster.facts_parse import parse_chip, parse_count, parse_ifconfig, parse_ip
from ringcore.planning import chips
from ringcore.spec.facts import NetworkAddress
from ringcore.spec.units import GIB, KIB, MIB

GITHUB = "https://github.com/"
# page, page size, pages: free, inactive, speculative, purgeable; bytes that they come to
VM_STAT = (
    ("HMCL-dev/HMCL/pull/4876", 16384, (3857, 443760, 1075, 17340), 7_635_468_288),  # Apple silicon, 24 GB
    ("htop-dev/htop/pull/1976", 16384, (14117, 11592611, 6693, 5387), 190_362_550_272),  # M2 Ultra, 192 GB
    ("wazuh/wazuh/issues/22113", 4096, (6127229, 628646, 430715, 11820), 29_484_687_360),  # Intel
)
# page; total and used as printed; both in bytes
SWAP = (
    ("shirou/gopsutil/issues/1206", ("2048.00M", "676.25M"), (2_147_483_648, 709_099_520)),  # macOS 12.1
    ("fastfetch-cli/fastfetch/pull/245", ("0.00M", "0.00M"), (0, 0)),
    ("Powerlevel9k/powerlevel9k/pull/1108", ("1024,00M", "379,25M"), (1_073_741_824, 397_672_448)),
)
# page, chip, GPU cores, GB/s by Apple's specifications
CHIPS = (
    ("GuillaumeGomez/sysinfo/pull/497", "Apple M1", 0, 68),
    ("super-l/machine-code/issues/1", "Apple M1 Pro", 0, 200),
    ("philipturner/applegpuinfo/issues/2", "Apple M1 Max", 32, 400),
    ("philipturner/applegpuinfo/issues/1", "Apple M1 Ultra", 48, 800),
    ("fastfetch-cli/fastfetch/issues/2248", "Apple M2", 8, 100),
    ("Dr-Noob/cpufetch/issues/183", "Apple M2 Pro", 0, 200),
    ("philipturner/applegpuinfo/issues/10", "Apple M2 Max", 38, 400),
    ("philipturner/applegpuinfo/issues/4", "Apple M3 Max", 40, 400),
    ("ProjectPhysX/OpenCL-Benchmark/issues/18", "Apple M4", 10, 120),
    ("philipturner/applegpuinfo/issues/13", "Apple M4 Pro", 16, 273),
    ("philipturner/applegpuinfo/issues/12", "Apple M4 Max", 40, 546),
    ("0xBakeer/inference-atlas/pull/194", "Apple M5 Max", 40, 614),
)
# page, name, MiB: total and used, driver; GB/s by NVIDIA's data sheet
CARDS = (
    ("noonghunna/club-3090/issues/1253", "NVIDIA GeForce RTX 5090", (32607, 28812), (610, 57, 4), 1792),
    ("RLinf/RLinf/issues/255", "NVIDIA GeForce RTX 4090", (24564, 507), (550, 163, 1), 1008),
    ("noonghunna/club-3090/issues/1127", "NVIDIA GeForce RTX 3090", (24576, 22591), (595, 84), 936),
    ("akash-network/provider-configs/pull/12", "Quadro RTX 4000", (8192, 1), (535, 129, 3), 0),
    ("cBio/cbio-cluster/issues/38", "GeForce GTX 680", (4095, 9), (331, 62), 0),
)
# page; kB: total, free, available (older kernels do not say)
MEMINFO = (
    ("open-falcon/falcon-plus/pull/230", 16268680, 349408, 8366284),
    ("soldair/node-procfs-stats/issues/9", 1019732, 50012, 710280),
    ("GuillaumeGomez/sysinfo/issues/164", 125128, 80288, 0),
)
# page, interface, address, mask, medium, hardware port; what it is
LINKS = (
    (
        "ml-explore/mlx/issues/1903", "bridge0", "10.25.0.1", "0xffffff00", "autoselect",
        "Thunderbolt Bridge",
        NetworkAddress("bridge0", "10.25.0.1", "thunderbolt", 24),
    ),
    (
        "nonocast/me/issues/129", "en0", "192.168.3.227", "0xffffff00", "autoselect", "Wi-Fi",
        NetworkAddress("en0", "192.168.3.227", "wifi", 24),
    ),
    (
        "libnet/libnet/issues/105", "lo0", "127.0.0.2", "0xffffffff", "", "",
        NetworkAddress("lo0", "127.0.0.2", "loopback", 32),
    ),
    (
        "ntop/ntopng/issues/6453", "en6", "192.168.1.3", "0xffffff00",
        "autoselect (10Gbase-T <full-duplex,flow-control>)", "",
        NetworkAddress("en6", "192.168.1.3", "ethernet", 24),
    ),
)  # fmt: skip
# Names of hardware ports and what they are. The first page's is a MacBook Pro of 2021 under macOS 12.1.
PORTS = (
    ("mrodalgaard/alfred-network-workflow/issues/20", "Ethernet Adapter (en4)", "en4", "ethernet"),
    ("mrodalgaard/alfred-network-workflow/issues/20", "Thunderbolt 3", "en3", "thunderbolt"),
    ("mrodalgaard/alfred-network-workflow/issues/20", "AX88179A", "en8", ""),
    ("nonocast/me/issues/129", "iPhone USB", "en5", ""),
    ("nonocast/me/issues/129", "Bluetooth PAN", "en3", ""),
    ("nonocast/me/issues/129", "Thunderbolt Bridge", "bridge0", "thunderbolt"),
)


def ifconfig(name: str, address: str, mask: str, medium: str) -> str:
    lines = [f"{name}: flags=8863<UP,BROADCAST> mtu 1500", f"\tinet {address} netmask {mask} "]
    return "\n".join((*lines, f"\tmedia: {medium}", "")) if medium else "\n".join((*lines, ""))


def port(name: str, device: str) -> str:
    return f"Hardware Port: {name}\nDevice: {device}\nEthernet Address: N/A\n"


@pytest.mark.parametrize(("page", "size", "pages", "available"), VM_STAT)
def test_a_mac_has_the_memory_that_its_owner_published(
    page: str, size: int, pages: tuple[int, int, int, int], available: int
) -> None:
    names = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
    head = f"Mach Virtual Memory Statistics: (page size of {size} bytes)\n"
    text = head + "".join(f"{name + ':':<25}{count:>23}.\n" for name, count in zip(names, pages, strict=True))
    expected = Memory(total=192 * GIB, available=available, reclaimable=available - pages[0] * size)
    assert parse_mac_memory(192 * GIB, text, "") == expected, GITHUB + page


@pytest.mark.parametrize(("page", "printed", "held"), SWAP)
def test_a_mac_swaps_what_its_owner_published_in_any_language(
    page: str, printed: tuple[str, str], held: tuple[int, int]
) -> None:
    memory = parse_mac_memory(
        GIB, "", f"total = {printed[0]}  used = {printed[1]}  free = 1.00M  (encrypted)\n"
    )
    assert (memory.swap, memory.swap_used) == held, GITHUB + page


@pytest.mark.parametrize(("page", "name", "gpu_cores", "bandwidth"), CHIPS)
def test_the_chips_that_macs_name_are_chips_that_the_planner_knows(
    page: str, name: str, gpu_cores: int, bandwidth: float
) -> None:
    cores = parse_count(f'    "gpu-core-count" = {gpu_cores}\n'.rpartition("=")[2])
    found = chips.apple(parse_chip(name + "\n"), gpu_cores=cores)
    assert (cores, found.bandwidth) == (gpu_cores, bandwidth), GITHUB + page


def test_a_limit_for_the_gpu_is_the_one_that_an_m1_max_was_given() -> None:
    assert parse_count("26000\n") == 26000, GITHUB + "AlexsJones/llmfit/issues/570"


@pytest.mark.parametrize(("page", "name", "sizes", "driver", "bandwidth"), CARDS)
def test_a_card_has_the_memory_and_driver_that_its_owner_published(
    page: str, name: str, sizes: tuple[int, int], driver: tuple[int, ...], bandwidth: float
) -> None:
    version = f"{driver[0]}." + ".".join(f"{part:02}" for part in driver[1:])
    total, free = sizes[0], sizes[0] - sizes[1]
    (card,) = parse_gpus(f"{name}, {total}, {free}, {version}\n")
    assert (card.name, card.driver) == (name, driver), GITHUB + page
    assert (card.total_memory_bytes, card.free_memory_bytes) == (total * MIB, free * MIB)
    assert chips.nvidia(card.name).bandwidth == bandwidth


def test_a_gb10_shares_the_hosts_memory_and_is_a_card_all_the_same() -> None:
    pages = ("unslothai/unsloth/pull/10703", "Syllo/nvtop/issues/426")  # its memory; its driver
    (card,) = parse_gpus("NVIDIA GB10, [N/A], [N/A], 580.95.05\n")
    assert (card.name, card.total_memory_bytes, card.driver) == ("NVIDIA GB10", 0, (580, 95, 5)), pages


@pytest.mark.parametrize(("page", "total", "free", "available"), MEMINFO)
def test_a_linux_host_has_the_memory_that_its_owner_published(
    page: str, total: int, free: int, available: int
) -> None:
    text = f"MemTotal: {total:>14} kB\nMemFree: {free:>15} kB\n"
    text += f"MemAvailable: {available:>10} kB\n" if available else ""
    text += "SwapTotal:             0 kB\nSwapFree:              0 kB\n"
    expected = Memory(
        total=total * KIB,
        available=available * KIB,
        reclaimable=(available - free) * KIB if available else 0,
    )
    assert parse_meminfo(text) == expected, GITHUB + page


@pytest.mark.parametrize(("page", "name", "address", "mask", "medium", "hardware", "expected"), LINKS)
def test_an_interface_of_a_mac_is_the_link_that_its_owner_published(
    page: str, name: str, address: str, mask: str, medium: str, hardware: str, expected: NetworkAddress
) -> None:
    ports = port(hardware, name) if hardware else ""
    assert parse_ifconfig(ifconfig(name, address, mask, medium), ports) == (expected,), GITHUB + page


@pytest.mark.parametrize(("page", "hardware", "device", "kind"), PORTS)
def test_a_hardware_port_is_what_its_published_name_says(
    page: str, hardware: str, device: str, kind: str
) -> None:
    text = ifconfig(device, "192.168.5.1", "0xffffff00", "autoselect")
    (found,) = parse_ifconfig(text, port(hardware, device))
    assert found.kind == kind, GITHUB + page


def test_an_adapter_whose_port_bears_its_chips_name_is_ethernet_by_its_medium() -> None:
    text = ifconfig("en8", "192.168.5.1", "0xffffff00", "autoselect (1000baseT <full-duplex>)")
    (found,) = parse_ifconfig(text, port("AX88179A", "en8"))
    assert found.kind == "ethernet", GITHUB + "mrodalgaard/alfred-network-workflow/issues/20"


def test_a_thunderbolt_link_of_a_linux_host_is_the_one_that_its_owner_published() -> None:
    text = "3: thunderbolt0    inet 169.254.205.206/16 brd 169.254.255.255 scope link thunderbolt0\n"
    expected = NetworkAddress("thunderbolt0", "169.254.205.206", "thunderbolt", 16)
    assert parse_ip(text) == (expected,), GITHUB + "geerlingguy/beowulf-ai-cluster/issues/16"
