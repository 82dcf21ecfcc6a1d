"""What the hosts' commands print, in their real format, as values."""

from console.cluster.facts_parse import (
    clock_skew,
    parse_chip,
    parse_count,
    parse_df,
    parse_ifconfig,
    parse_ip,
    sections,
)
from ringcore.spec.facts import NetworkAddress

MAC_DF = """\
Filesystem     1024-blocks      Used Available Capacity  Mounted on
/dev/disk3s5     971350180 512345678 400123456    57%    /System/Volumes/Data
"""
LINUX_DF = """\
Filesystem     1024-blocks     Used Available Capacity Mounted on
/dev/nvme0n1p2   479079112 91288380 363381172      21% /
"""
SPACED_DF = """\
Filesystem        1024-blocks      Used Available Capacity Mounted on
//op@nas/My Share 1952559000 1000000000 952559000      52% /Volumes/My Share
"""
IP = """\
1: lo    inet 127.0.0.1/8 scope host lo\\       valid_lft forever preferred_lft forever
2: enp3s0    inet 192.168.5.1/24 brd 192.168.5.255 scope global enp3s0\\       valid_lft forever
3: wlp2s0    inet 10.0.0.17/24 brd 10.0.0.255 scope global dynamic wlp2s0\\       valid_lft 80123sec
4: thunderbolt0    inet 169.254.10.2/16 scope link thunderbolt0\\       valid_lft forever
5: veth1@if4    inet 172.18.0.1/16 scope global veth1\\       valid_lft forever
6: radio0    inet 10.1.0.9/24 scope global radio0\\       valid_lft forever
"""
KERNEL_TABLES = """\
fib_trie
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 127.0.0.0/8 2 0 2
           |-- 127.0.0.0
              /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
        |-- 127.255.255.255
           /32 link BROADCAST
     +-- 192.168.5.0/24 2 0 2
           |-- 192.168.5.2
              /32 host LOCAL
Local:
           |-- 192.168.5.2
              /32 host LOCAL
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0105A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t0005A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
"""
IFCONFIG = """\
lo0: flags=8049<UP,LOOPBACK,RUNNING,MULTICAST> mtu 16384
\toptions=1203<RXCSUM,TXCSUM,TXSTATUS,SW_TIMESTAMP>
\tinet 127.0.0.1 netmask 0xff000000
\tinet6 ::1 prefixlen 128
en0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tether 3c:22:fb:12:34:56
\tinet6 fe80::1c2a:1%en0 prefixlen 64 secured scopeid 0xb
\tinet 192.168.1.20 netmask 0xffffff00 broadcast 192.168.1.255
\tstatus: active
en1: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tinet 192.168.1.21 netmask 0xffffff00 broadcast 192.168.1.255
bridge0: flags=8863<UP,BROADCAST,SMART,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tConfiguration:
\t\tid 0:0:0:0:0:0 priority 0 hellotime 0 fwddelay 0
\tinet 192.168.5.1 netmask 0xffffff00 broadcast 192.168.5.255
\tinet 192.168.5.7 netmask 0xffffff00 broadcast 192.168.5.255
utun3: flags=8051<UP,POINTOPOINT,RUNNING,MULTICAST> mtu 1380
\tinet 100.64.0.9 --> 100.64.0.9 netmask 0xffffffff
"""
PORTS = """\

Hardware Port: Ethernet
Device: en0
Ethernet Address: 3c:22:fb:12:34:56

Hardware Port: Wi-Fi
Device: en1
Ethernet Address: 3c:22:fb:12:34:57

Hardware Port: Thunderbolt Bridge
Device: bridge0
Ethernet Address: 36:22:fb:12:34:58

Hardware Port: Thunderbolt Ethernet Slot 2
Device: en7
Ethernet Address: 3c:22:fb:12:34:59

VLAN Configurations
===================
"""


def test_free_disk_space_is_read_from_both_systems_and_from_names_with_spaces() -> None:
    assert parse_df(MAC_DF) == 400123456 * 1024
    assert parse_df(LINUX_DF) == 363381172 * 1024
    assert parse_df(SPACED_DF) == 952559000 * 1024
    assert parse_df("df: /nowhere: No such file or directory") == 0


def test_linux_addresses_come_with_interface_and_kind() -> None:
    assert parse_ip(IP, wireless=("radio0",)) == (
        NetworkAddress("lo", "127.0.0.1", "loopback", 8),
        NetworkAddress("enp3s0", "192.168.5.1", "ethernet", 24),
        NetworkAddress("wlp2s0", "10.0.0.17", "wifi", 24),
        NetworkAddress("thunderbolt0", "169.254.10.2", "thunderbolt", 16),
        NetworkAddress("veth1", "172.18.0.1", "", 16),
        NetworkAddress("radio0", "10.1.0.9", "wifi", 24),
    )


def test_without_ip_the_kernels_own_tables_say_it() -> None:
    assert parse_ip(KERNEL_TABLES) == (
        NetworkAddress("lo", "127.0.0.1", "loopback", 8),
        NetworkAddress("eth0", "192.168.5.2", "ethernet", 24),
    )


def test_mac_addresses_come_with_what_their_hardware_port_is() -> None:
    assert parse_ifconfig(IFCONFIG, PORTS) == (
        NetworkAddress("lo0", "127.0.0.1", "loopback", 8),
        NetworkAddress("en0", "192.168.1.20", "ethernet", 24),
        NetworkAddress("en1", "192.168.1.21", "wifi", 24),
        NetworkAddress("bridge0", "192.168.5.1", "thunderbolt", 24),
        NetworkAddress("bridge0", "192.168.5.7", "thunderbolt", 24),
        NetworkAddress("utun3", "100.64.0.9", "", 32),
    )


def test_an_ethernet_adapter_on_thunderbolt_is_ethernet() -> None:
    text = "en7: flags=8863<UP> mtu 1500\n\tinet 10.0.0.1 netmask 0xff000000\n"
    assert parse_ifconfig(text, PORTS) == (NetworkAddress("en7", "10.0.0.1", "ethernet", 8),)


def test_the_chip_is_named_by_either_system() -> None:
    assert parse_chip("model name\t: AMD Ryzen 9 7950X 16-Core Processor\n") == (
        "AMD Ryzen 9 7950X 16-Core Processor"
    )
    assert parse_chip("Apple M4 Max\n") == "Apple M4 Max"


def test_a_number_that_is_missing_is_zero() -> None:
    assert (parse_count("14\n"), parse_count("sysctl: unknown oid")) == (14, 0)


def test_output_is_cut_at_its_own_marks_only() -> None:
    output = "noise\n@m uname\nLinux x86_64\n@m rings\n@other fake\n x @m no\n@m end\n"
    assert sections(output, "@m") == {
        "uname": "Linux x86_64\n",
        "rings": "@other fake\n x @m no\n",
        "end": "",
    }


def test_a_clock_is_off_only_when_whole_seconds_and_the_way_cannot_explain_it() -> None:
    assert clock_skew(1000, 1000.4, 1000.9) == 0.0
    assert clock_skew(1000, 999.5, 1001.5) == 0.0
    assert clock_skew(1010, 1000.4, 1000.9) == 1010 - 1000.9
    assert clock_skew(990, 1000.4, 1000.9) == 991 - 1000.4
