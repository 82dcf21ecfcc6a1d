"""What one Python interpreter is and has: the program it is asked with, and what its answer means.

The program runs in any Python 3 and reads folder names only: a tenth of the time that
``importlib.metadata`` takes to open each package's file.
"""

from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

from console.cluster.lock import Pin, missing_pins, normal
from ringcore.spec.facts import HostFacts, PythonFound

MINIMUM = (3, 11)

_ENVIRONMENT = {"sys_platform", "platform_machine", "python_full_version"}  # what lock files ask for
PROBE = r"""
import json, os, platform, sys
from importlib import util
found = {}
for folder in reversed(sys.path):
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            stem, end = os.path.splitext(name)
            if end == ".dist-info" and "-" in stem and os.path.isfile(os.path.join(folder, name, "METADATA")):
                package, version = stem.split("-", 1)
                found[package] = version
print(json.dumps({
    "path": sys.executable, "prefix": sys.prefix, "version": list(sys.version_info[:3]),
    "venv": bool(util.find_spec("venv") and util.find_spec("ensurepip")), "installed": found,
    "environment": {
        "sys_platform": sys.platform, "platform_machine": platform.machine(), "os_name": os.name,
        "platform_system": platform.system(),
        "platform_python_implementation": platform.python_implementation(),
        "implementation_name": sys.implementation.name, "python_full_version": platform.python_version(),
        "python_version": "%d.%d" % sys.version_info[:2],
    },
}))
"""


class Interpreter(Struct, frozen=True, kw_only=True):
    """The answer of `PROBE`. ``environment`` holds PEP 508's names, ``installed`` the folders' names."""

    path: str
    prefix: str
    version: tuple[int, int, int]
    venv: bool
    environment: dict[str, str]
    installed: dict[str, str]

    def lacks(self, pins: Iterable[Pin]) -> tuple[Pin, ...]:
        """The locked packages that are not there as locked."""
        return missing_pins(
            pins, self.environment, {normal(name): version for name, version in self.installed.items()}
        )


def parse_probe(answer: str) -> Interpreter | None:
    """None when the interpreter printed something else (a shim's complaint, a crash, half of it)."""
    try:
        found = msgspec.json.decode(answer.strip().rpartition("\n")[2], type=Interpreter)
    except msgspec.MsgspecError:
        return None
    return found if found.environment.keys() >= _ENVIRONMENT else None


def found_pythons(
    answers: Mapping[str, Interpreter], pins: Iterable[Pin], given: str
) -> tuple[PythonFound, ...]:
    """One for each environment, the best for us first; ``given`` before all, under the path it was given by.

    ``answers`` by the path that was asked. One environment has several names (``python3``, ``python3.11``).
    """
    pins = tuple(pins)
    by_prefix: dict[tuple[str, tuple[int, int, int]], PythonFound] = {}
    for asked, one in answers.items():
        path = asked if asked == given else one.path or asked
        key = (path if asked == given else one.prefix, one.version)
        has_lock = not one.lacks(pins) and one.version >= MINIMUM
        by_prefix.setdefault(key, PythonFound(path, one.version, one.venv, has_lock))
    return tuple(sorted(by_prefix.values(), key=lambda found: (found.path != given, *preference(found))))


def preference(found: PythonFound) -> tuple[bool, bool, bool]:
    """Sorts what serves us best first. Equals keep their order: nearer on the search path comes first."""
    return not found.has_lock, found.version < MINIMUM, not found.has_venv


def as_text(version: Iterable[int]) -> str:
    return ".".join(str(part) for part in version)


def environment_of(facts: HostFacts, python: PythonFound) -> dict[str, str]:
    """PEP 508's names for an environment of ``python`` on that host, as far as lock files ask for them."""
    version = as_text(python.version)
    return {
        "sys_platform": facts.os,
        "platform_machine": facts.arch,
        "platform_system": "Darwin" if facts.os == "darwin" else "Linux",
        "os_name": "posix",
        "python_full_version": version,
        "python_version": as_text(python.version[:2]),
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }


def probe_argv(python: str) -> list[str]:
    return [python, "-I", "-B", "-c", PROBE]
