"""What the commands of `facts_script` print of memory, swap, GPU and system, as values. Pure."""

import re

from msgspec import Struct

from ringcore.spec.facts import Gpu
from ringcore.spec.units import GIB, KIB, MIB, TIB

_PAGE_SIZE = re.compile(r"page size of ([0-9]+) bytes")
_VM_LINE = re.compile(r'^"?([A-Za-z -]+)"?:\s+([0-9]+)\.', re.MULTILINE)
_GIVEN_UP = ("Pages inactive", "Pages purgeable", "Pages speculative")
_SWAP = re.compile(r"\b(total|used) = ([0-9]+(?:[.,][0-9]+)?)([KMGT])")  # a comma in some languages
_UNITS = {"K": KIB, "M": MIB, "G": GIB, "T": TIB}


class Memory(Struct, frozen=True, kw_only=True):
    """In bytes. ``available`` is free or given up on demand; ``reclaimable`` is that second part."""

    total: int = 0
    available: int = 0
    reclaimable: int = 0
    swap: int = 0
    swap_used: int = 0


def parse_meminfo(text: str) -> Memory:
    """Linux ``/proc/meminfo``."""
    found = {name: int(size) * KIB for name, size in re.findall(r"^(\w+):\s+([0-9]+) kB", text, re.MULTILINE)}
    available = found.get("MemAvailable", 0)
    swap = found.get("SwapTotal", 0)
    return Memory(
        total=found.get("MemTotal", 0),
        available=available,
        reclaimable=max(0, available - found.get("MemFree", available)),
        swap=swap,
        swap_used=max(0, swap - found.get("SwapFree", swap)),
    )


def parse_mac_memory(memsize: int, vm_stat: str, swapusage: str) -> Memory:
    """macOS ``sysctl -n hw.memsize``, ``vm_stat`` and ``sysctl -n vm.swapusage``."""
    size = _PAGE_SIZE.search(vm_stat)
    page = int(size[1]) if size else 4096
    pages = {name: int(count) * page for name, count in _VM_LINE.findall(vm_stat)}
    reclaimable = sum(pages.get(name, 0) for name in _GIVEN_UP)
    swap = {
        name: int(float(count.replace(",", ".")) * _UNITS[unit])
        for name, count, unit in _SWAP.findall(swapusage)
    }
    return Memory(
        total=memsize,
        available=min(memsize, pages.get("Pages free", 0) + reclaimable),
        reclaimable=min(memsize, reclaimable),
        swap=swap.get("total", 0),
        swap_used=swap.get("used", 0),
    )


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """``nvidia-smi --query-gpu=name,memory.total,memory.free,driver_version[,compute_cap]`` as CSV without
    header and units (MiB). Complaints that it prints instead are no cards."""
    found: list[Gpu] = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) not in (4, 5) or not _numbers(fields[3]):
            continue
        found.append(
            Gpu(
                name=fields[0],
                total_memory_bytes=_mebibytes(fields[1]),
                free_memory_bytes=_mebibytes(fields[2]),
                driver=_numbers(fields[3]),
                capability=_numbers(fields[4]) if len(fields) == 5 else (),
            )
        )
    return tuple(found)


def parse_os_version(text: str) -> str:
    """A line of ``/etc/os-release``, ``uname -r`` or ``sw_vers -productVersion``."""
    return text.strip().removeprefix("PRETTY_NAME=").strip("\"'")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split("."))) if re.fullmatch(r"[0-9]+(\.[0-9]+)*", text) else ()


def _mebibytes(text: str) -> int:
    """0 for ``[N/A]``: the chip shares the host's memory."""
    return int(text) * MIB if text.isascii() and text.isdecimal() else 0
