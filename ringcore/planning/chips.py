"""What chips can do by their makers' figures: how fast they read memory, and how fast they multiply.

Bandwidth in GB/s; compute in 1e12 half-precision operations a second, dense. Apple publishes no figure
for compute: it is counted from cores, clock and 256 operations a core and cycle. Where a name stands for
several variants and nothing tells them apart, the smallest is meant. Knows no hosts.
"""

import re
from collections.abc import Mapping

from msgspec import Struct


class Chip(Struct, frozen=True):
    """0.0 for what is not known."""

    bandwidth: float = 0.0
    compute: float = 0.0


# GB/s and GPU cores of the smallest variant, from Apple's technical specifications.
_APPLE: Mapping[str, tuple[float, int]] = {
    "M1": (68, 7), "M1 Pro": (200, 14), "M1 Max": (400, 24), "M1 Ultra": (800, 48),
    "M2": (100, 8), "M2 Pro": (200, 16), "M2 Max": (400, 30), "M2 Ultra": (800, 60),
    "M3": (100, 8), "M3 Pro": (150, 14), "M3 Max": (300, 30), "M3 Ultra": (819, 60),
    "M4": (120, 8), "M4 Pro": (273, 16), "M4 Max": (410, 32),
    "M5": (153, 8), "M5 Pro": (307, 16), "M5 Max": (460, 32),
}  # fmt: skip
# The larger variant of a name: from so many GPU cores, or CPU cores where the GPU's are not known.
_LARGER: Mapping[str, tuple[int, int, float]] = {
    "M3 Max": (40, 16, 400), "M4 Max": (40, 16, 546), "M5 Max": (40, 0, 614),
}  # fmt: skip
_PER_CORE: Mapping[str, float] = {"M1": 0.327, "M2": 0.358, "M3": 0.353, "M4": 0.404, "M5": 0.415}
_NEURAL = {"M5": 4.0}  # matrix units in each GPU core: Apple's "over four times" the chip before
_CHIP = re.compile(r"Apple ((M[0-9]+)(?: (?:Pro|Max|Ultra))?)")

# From NVIDIA's data sheets; tensor cores, float32 sums, without sparsity. The longer name comes first.
_NVIDIA: tuple[tuple[str, float, float], ...] = (
    ("B300", 8000, 2250), ("B200", 8000, 2250), ("GH200", 4000, 989), ("H200", 4800, 989),
    ("H100 NVL", 3900, 835), ("H100 PCIe", 2000, 756), ("H100", 3350, 989), ("H20", 4000, 148),
    ("A100-SXM4-80GB", 2039, 312), ("A100 80GB", 1935, 312), ("A100-SXM-80GB", 2039, 312),
    ("A100", 1555, 312), ("A40", 696, 150), ("A30", 933, 165), ("A10G", 600, 70), ("A10", 600, 125),
    ("L40S", 864, 362), ("L40", 864, 181), ("L4", 300, 121),
    ("V100", 900, 112), ("T4", 320, 65), ("RTX PRO 6000", 1792, 503),
    ("RTX 6000 Ada", 960, 364), ("RTX A6000", 768, 155), ("RTX A5000", 768, 111),
    ("RTX A4000", 448, 77), ("RTX 5090 Laptop", 896, 89),
    ("RTX 5090", 1792, 210), ("RTX 5080", 960, 113), ("RTX 5070 Ti", 896, 88),
    ("RTX 5070", 672, 62), ("RTX 5060 Ti", 448, 47), ("RTX 5060", 448, 38),
    ("RTX 4090 Laptop", 576, 62), ("RTX 4090", 1008, 165), ("RTX 4080 SUPER", 736, 104),
    ("RTX 4080", 717, 97), ("RTX 4070 Ti SUPER", 672, 88), ("RTX 4070 Ti", 504, 80),
    ("RTX 4070 SUPER", 504, 71), ("RTX 4070", 504, 58), ("RTX 4060 Ti", 288, 44),
    ("RTX 4060", 272, 30), ("RTX 3090 Ti", 1008, 80), ("RTX 3090", 936, 71),
    ("RTX 3080 Ti", 912, 68), ("RTX 3080", 760, 60), ("RTX 3070 Ti", 608, 43),
    ("RTX 3070", 448, 41), ("RTX 3060 Ti", 448, 32), ("RTX 3060", 360, 25),
    ("RTX 2080 Ti", 616, 54), ("RTX 2080", 448, 40), ("RTX 2070", 448, 30), ("GB10", 273, 125),
    ("Orin", 204, 43), ("Thor", 273, 258),
)  # fmt: skip


def apple(name: str, *, gpu_cores: int = 0, cores: int = 0) -> Chip:
    """``name`` as macOS has it ("Apple M4 Max"). ``cores`` are those of the CPU. 0: not known."""
    found = _CHIP.fullmatch(name)
    if found is None or found[1] not in _APPLE:
        return Chip()
    bandwidth, least = _APPLE[found[1]]
    if found[1] in _LARGER:
        from_gpu, from_cpu, more = _LARGER[found[1]]
        larger = gpu_cores >= from_gpu if gpu_cores else 0 < from_cpu <= cores
        bandwidth, least = (more, from_gpu) if larger else (bandwidth, least)
    family = found[2]
    compute = (gpu_cores or least) * _PER_CORE[family] * _NEURAL.get(family, 1.0)
    return Chip(bandwidth, round(compute, 1))


def nvidia(name: str) -> Chip:
    """``name`` as ``nvidia-smi`` has it ("NVIDIA GeForce RTX 4090")."""
    for part, bandwidth, compute in _NVIDIA:
        if "Laptop" in name and "Laptop" not in part:
            continue  # slower than the desktop's card of that name
        if re.search(rf"(?<![A-Za-z0-9]){re.escape(part)}(?![0-9A-Za-z])", name):
            return Chip(bandwidth, compute)
    return Chip()
