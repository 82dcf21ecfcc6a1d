"""Output that a machine printed (folder ``recorded``), read with the figures that stand in it."""

from pathlib import Path

from console.cluster.facts_memory import Memory, parse_meminfo, parse_os_version
from console.cluster.facts_parse import parse_chip, parse_df, parse_ip
from ringcore.spec.facts import NetworkAddress
from ringcore.spec.units import KIB

RECORDED = Path(__file__).parent / "recorded"
DEBIAN = "debian12-epyc"


def recorded(command: str, machine: str) -> str:
    return (RECORDED / f"{command}-{machine}.txt").read_text(encoding="utf-8")


def test_the_memory_of_a_debian_host_is_read_from_what_its_kernel_printed() -> None:
    assert parse_meminfo(recorded("meminfo", DEBIAN)) == Memory(
        total=24684100 * KIB,
        available=22966688 * KIB,
        reclaimable=(22966688 - 18881736) * KIB,
    )


def test_the_addresses_of_a_debian_host_are_those_that_it_printed() -> None:
    assert parse_ip(recorded("ip", DEBIAN)) == (
        NetworkAddress("lo", "127.0.0.1", "loopback", 8),
        NetworkAddress("eth0", "192.0.2.2", "ethernet", 24),
    )


def test_the_kernels_tables_of_one_host_say_what_its_ip_command_says() -> None:
    assert parse_ip(recorded("fib_trie", DEBIAN)) == parse_ip(recorded("ip", DEBIAN))


def test_chip_system_and_free_disk_space_of_a_debian_host_are_those_that_it_printed() -> None:
    assert parse_chip(recorded("cpuinfo", DEBIAN)) == "AMD EPYC"
    assert parse_os_version(recorded("os_release", DEBIAN)) == "Debian GNU/Linux 12 (bookworm)"
    assert parse_df(recorded("df", DEBIAN)) == 76153588 * KIB
