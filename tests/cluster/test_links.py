"""Which link the ring would use: the fastest common one is proposed, wrong and mixed choices are named."""

from msgspec import structs

from console.cluster.facts_parse import parse_ifconfig
from console.cluster.links import notes
from ringcore.spec.facts import NetworkAddress
from ringcore.spec.profile import HostOptions, Profile
from tests.cluster.test_needs import FACTS

PORTS = """\

Hardware Port: Ethernet
Device: en0
Ethernet Address: 1c:1d:d3:00:00:01

Hardware Port: Wi-Fi
Device: en1
Ethernet Address: 1c:1d:d3:00:00:02

Hardware Port: Thunderbolt Bridge
Device: bridge0
Ethernet Address: 36:1d:d3:00:00:03
"""
# `ifconfig` of macOS 15, shortened; the numbers of the two Macs differ
IFCONFIG = """\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\tinet 127.0.0.1 netmask 0xff000000
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet 192.168.1.{n} netmask 0xffffff00 broadcast 192.168.1.255
en1: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet 10.0.0.{n} netmask 0xffffff00 broadcast 10.0.0.255
bridge0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tmember: en2 flags=3<LEARNING,DISCOVER>
\tinet 192.168.5.{n} netmask 0xffffff00 broadcast 192.168.5.255
"""


def told(used: dict[str, str], **changed: tuple[NetworkAddress, ...]) -> list[str]:
    """The notes for Macs of these names, the n-th of them with number n on every network."""
    facts, hosts = {}, []
    for number, (name, address) in enumerate(used.items(), 1):
        addresses = changed.get(name) or parse_ifconfig(IFCONFIG.format(n=number), PORTS)
        facts[name] = structs.replace(FACTS, host=name, os="darwin", addresses=addresses)
        hosts.append(HostOptions(name=name, ssh=f"op@{name}", address=address))
    return [str(note) for note in notes(Profile(name="r", model="/m", hosts=tuple(hosts)), facts)]


def test_the_fastest_link_of_all_hosts_is_used_without_a_word() -> None:
    assert told({"mini1": "192.168.5.1", "mini2": "192.168.5.2"}) == []


def test_wifi_beside_a_thunderbolt_bridge_is_named_with_the_addresses_to_write() -> None:
    assert told({"mini1": "10.0.0.1", "mini2": "10.0.0.2"})[1] == (
        "mini2 would use Wi-Fi en1; Thunderbolt bridge 192.168.5.2 is also there; "
        "to use it, write these under hosts.address: mini1 192.168.5.1, mini2 192.168.5.2"
    )


def test_ethernet_is_proposed_before_wifi_and_thunderbolt_before_ethernet() -> None:
    no_bridge = {
        f"mini{n}": parse_ifconfig(IFCONFIG.partition("bridge0")[0].format(n=n), PORTS) for n in (1, 2)
    }
    found = told({"mini1": "10.0.0.1", "mini2": "10.0.0.2"}, **no_bridge)
    assert "mini1 would use Wi-Fi en1; Ethernet 192.168.1.1 is also there" in found[0]
    found = told({"mini1": "192.168.1.1", "mini2": "192.168.1.2"})
    assert "mini1 would use Ethernet en0; Thunderbolt bridge 192.168.5.1 is also there" in found[0]


def test_mixed_links_are_named_with_the_slow_ones_host() -> None:
    found = told({"mini1": "192.168.5.1", "mini2": "10.0.0.2"})
    assert found[-1].startswith("mini2 is on Wi-Fi en1, mini1 on Thunderbolt bridge bridge0; every token")


def test_a_faster_link_that_leads_to_no_other_host_is_not_proposed() -> None:
    alone = (
        NetworkAddress("en1", "10.0.0.2", "wifi", 24),
        NetworkAddress("bridge0", "169.254.9.9", "thunderbolt", 16),
    )
    assert told({"mini1": "10.0.0.1", "mini2": "10.0.0.2"}, mini2=alone) == []


def test_a_faster_link_that_one_host_lacks_says_which_to_connect() -> None:
    wifi = (NetworkAddress("en1", "10.0.0.3", "wifi", 24),)
    used = {"mini1": "10.0.0.1", "mini2": "10.0.0.2", "mini3": "10.0.0.3"}
    found = told(used, mini3=wifi)
    assert found[0].endswith("is also there; to use it, connect mini3 to that network too")


def test_an_address_that_the_host_has_not_is_named_with_those_it_has() -> None:
    (found,) = told({"mini1": "192.168.5.1", "mini2": "192.168.5.77"})
    assert found.startswith("mini2 has no address 192.168.5.77; it has 192.168.1.2 (Ethernet en0), ")
    assert found.endswith('write address = "192.168.5.2" for it')


def test_loopback_and_unknown_kinds_are_left_alone() -> None:
    assert told({"a": "127.0.0.1", "b": "127.0.0.1"}) == []
    unknown = tuple((NetworkAddress("ring", f"10.77.0.{n}", "", 25),) for n in (1, 2))
    assert told({"a": "10.77.0.1", "b": "10.77.0.2"}, a=unknown[0], b=unknown[1]) == []


def test_an_address_that_is_none_is_passed_over() -> None:
    said = (
        NetworkAddress("en9", "999.1.1.1", "thunderbolt", 24),
        NetworkAddress("en0", "192.168.1.1", "ethernet", 99),
        NetworkAddress("en1", "10.0.0.1", "wifi", 24),
    )
    assert told({"mini1": "10.0.0.1"}, mini1=said) == []
