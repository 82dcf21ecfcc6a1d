"""Bytes as people write and read them. Sizes are plain ``int`` in bytes everywhere else."""

import re

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40
_UNITS = {
    "": 1, "b": 1,
    "kib": KIB, "mib": MIB, "gib": GIB, "tib": TIB,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
_SIZE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*")


def parse_bytes(text: str) -> int:
    """``"12 GiB"`` -> bytes. Raises ``ValueError`` naming the units that are understood."""
    match = _SIZE.fullmatch(text)
    factor = _UNITS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise ValueError(f"{text!r} is not a size; write a number and a unit, such as '12 GiB' or '800 MB'")
    return int(float(match[1]) * factor)


def format_bytes(value: float) -> str:
    """Bytes -> ``"9.1 GiB"``: binary units, three significant figures."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if abs(value) >= factor:
            scaled = value / factor
            return f"{scaled:.{0 if scaled >= 100 else 1}f} {unit}"
    return f"{int(value)} B"


def exact_bytes(value: int) -> str:
    """Bytes -> text that `parse_bytes` reads back to the very same number: ``"12 GiB"``, ``"1000 B"``."""
    for unit, factor in (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if value and value % factor == 0:
            return f"{value // factor} {unit}"
    return f"{value} B"
