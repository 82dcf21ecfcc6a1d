"""What the commands of `facts_script` print, as values. Pure; one function for each command's format."""

import re

from ringcore.spec.facts import NetworkAddress
from ringcore.spec.units import KIB

_INET = re.compile(r"^\s+inet ([0-9.]+)(?: --> [0-9.]+)?(?: netmask 0x([0-9a-f]+))?", re.MULTILINE)
_TWISTED_PAIR = re.compile(r"^\s+media: .*[0-9]G?base", re.MULTILINE | re.IGNORECASE)
_PORT = re.compile(r"^Hardware Port: (.+)\nDevice: (\S+)", re.MULTILINE)


def sections(output: str, mark: str) -> dict[str, str]:
    """The script's output cut at its marks. The section ``end`` is there when nothing is missing."""
    parts = re.split(rf"^{re.escape(mark)} ([a-z_]+)\n", output, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def parse_df(text: str) -> int:
    """``df -Pk`` of one place -> bytes free for this user. Device names may hold spaces."""
    match = re.search(r"\s([0-9]+)\s+-?[0-9]+\s+(-?[0-9]+)\s+[0-9-]+%?\s", text)
    return max(0, int(match[2])) * KIB if match else 0


def parse_count(text: str) -> int:
    """A number that stands alone (``nproc``, ``sysctl -n``, ``date +%s``); 0 when there is none."""
    match = re.search(r"[0-9]+", text)
    return int(match[0]) if match else 0


def parse_chip(text: str) -> str:
    """A line of ``/proc/cpuinfo``, or ``sysctl -n machdep.cpu.brand_string``."""
    return " ".join(text.partition(":")[2].split() or text.split())


def parse_ip(text: str, wireless: tuple[str, ...] = ()) -> tuple[NetworkAddress, ...]:
    """Linux ``ip -o -4 addr``, or the kernel's tables where there is no ``ip``."""
    if text.startswith("fib_trie"):
        found = _kernel_addresses(text)
    else:
        lines = re.findall(r"^[0-9]+: ([^\s@]+)\S*\s+inet ([0-9.]+)(?:/([0-9]+))?", text, flags=re.MULTILINE)
        found = [(name, address, int(prefix or 0)) for name, address, prefix in lines]
    return tuple(
        NetworkAddress(name, address, _linux_kind(name, wireless), prefix) for name, address, prefix in found
    )


def _linux_kind(name: str, wireless: tuple[str, ...]) -> str:
    if name in wireless or name.startswith("wl"):
        return "wifi"
    for start, kind in (
        ("lo", "loopback"),
        ("thunderbolt", "thunderbolt"),
        ("en", "ethernet"),
        ("eth", "ethernet"),
    ):
        if name.startswith(start):
            return kind
    return ""


def _kernel_addresses(text: str) -> list[tuple[str, str, int]]:
    """``/proc/net/fib_trie`` names the addresses, ``/proc/net/route`` the networks of each interface."""
    addresses = re.findall(r"\|-- ([0-9.]+)\n\s+/32 host LOCAL", text)
    networks = [
        (name, int(network, 16), int(mask, 16))
        for name, network, mask in re.findall(
            r"^(\S+)\t([0-9A-F]{8})\t[0-9A-F]{8}\t(?:\S+\t){4}([0-9A-F]{8})", text, flags=re.MULTILINE
        )
        if int(mask, 16)
    ]
    found: list[tuple[str, str, int]] = []
    for address in dict.fromkeys(addresses):
        number = int.from_bytes(bytes(map(int, address.split("."))), "little")
        fitting = [(name, mask) for name, network, mask in networks if number & mask == network]
        name, mask = fitting[0] if fitting else ("", 0)
        found.append(("lo", address, 8) if address.startswith("127.") else (name, address, mask.bit_count()))
    return found


def parse_ifconfig(text: str, ports: str) -> tuple[NetworkAddress, ...]:
    """macOS ``ifconfig``, with ``networksetup -listallhardwareports`` for what each interface is."""
    kinds = {device: _port_kind(port) for port, device in _PORT.findall(ports)}
    found: list[NetworkAddress] = []
    for block in re.split(r"^(?=\S)", text, flags=re.MULTILINE):
        name = block.partition(":")[0]
        kind = "loopback" if name.startswith("lo") else kinds.get(name, "")
        if not kind and _TWISTED_PAIR.search(block):  # an adapter whose port bears its chip's name
            kind = "ethernet"
        found += [
            NetworkAddress(name, address, kind, int(mask or "0", 16).bit_count())
            for address, mask in _INET.findall(block)
        ]
    return tuple(found)


def _port_kind(port: str) -> str:
    low = port.lower()
    if "wi-fi" in low or "airport" in low:
        return "wifi"
    if "ethernet" in low or "lan" in low.split():  # a Thunderbolt adapter for Ethernet is Ethernet
        return "ethernet"
    return "thunderbolt" if "thunderbolt" in low else ""


def clock_skew(there: int, before: float, after: float) -> float:
    """Seconds by which the host's clock is ahead; ``there`` is its, read between the two times here.

    0.0 when its clock may be right: it was cut to seconds, and the way took time.
    """
    low, high = there - after, there + 1 - before
    return low if low > 0 else high if high < 0 else 0.0
