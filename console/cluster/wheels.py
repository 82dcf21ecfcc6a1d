"""Wheel files by their names, and the part of a lock file that one interpreter needs. Pure."""

import re
from collections.abc import Iterable

from console.cluster.lock import Environment, Pin, normal, parse_lock, pins_for

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def lacking_wheels(pins: Iterable[Pin], names: Iterable[str]) -> tuple[Pin, ...]:
    """The pins of which no wheel is among the file names."""
    there = {wheel_of(name) for name in names}
    return tuple(pin for pin in pins if (pin.name, pin.version) not in there)


def wheel_of(name: str) -> tuple[str, str]:
    """Distribution (normalised) and version that a wheel's file name says; empty for other files."""
    parts = name.split("-")
    return (normal(parts[0]), parts[1]) if name.endswith(".whl") and len(parts) >= 5 else ("", "")


def requirements_for(lock: bytes, environment: Environment) -> bytes:
    """The lock file's pins for that environment with their hashes, free of markers.

    pip reads markers for the interpreter that runs it, also when it downloads for another platform.
    """
    wanted = set(pins_for(parse_lock(lock), environment))
    lines: list[str] = []
    taking = False
    for line in lock.decode().splitlines():
        if pins := parse_lock(line.encode()):
            taking = pins[0] in wanted
            lines += [str(pins[0])] if taking else []
        elif taking and (found := _HASH.search(line)):
            lines[-1] += f" {found[0]}"
    return "".join(f"{line}\n" for line in lines).encode()
