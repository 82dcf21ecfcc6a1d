"""Decides what a host still needs before a rank can run there. Pure: facts and findings in, actions out."""

from msgspec import Struct

from console.cluster.actions import (
    OWN_PYTHON,
    Action,
    InstallPython,
    MakeHome,
    MakeVenv,
    Places,
    Remove,
    SendCode,
    SendWheels,
)
from console.cluster.lock import parse_lock, pins_for
from console.cluster.look import Found
from console.cluster.pythons import MINIMUM, as_text, environment_of
from console.cluster.quoting import quote
from console.cluster.wheels import lacking_wheels
from ringcore.spec.errors import ProvisionError
from ringcore.spec.facts import HostFacts, PythonFound
from ringcore.spec.profile import HostOptions
from ringcore.spec.units import GIB, MIB, format_bytes

# packages, what the installer downloads and unpacks on the way; measured and rounded up
VENV_BYTES = {"linux": 3 * GIB // 2, "darwin": GIB}
CUDA_BYTES = 6 * GIB  # NVIDIA's libraries beside them
CODE_BYTES = 16 * MIB
PYTHON_BYTES = 256 * MIB
WHEELS_BYTES = 256 * MIB
_NEWEST = (3, 15)  # versions from here on have no wheels of every locked package yet


class Needs(Struct, frozen=True):
    """``python`` is the interpreter that ranks use once ``actions`` are done, in their order."""

    python: str
    actions: tuple[Action, ...]


def needs(
    facts: HostFacts,
    options: HostOptions,
    places: Places,
    found: Found,
    lacking: tuple[str, ...] = (),
    offline_lock: bytes = b"",
) -> Needs:
    """Raises `ProvisionError` when the host cannot be made ready, with what must change there.

    ``lacking``: packages that ``options.python`` has not. ``offline_lock``: the lock file whose packages this
    console sends, where the host is not to fetch them itself.
    """
    if found.home == "foreign":
        raise ProvisionError(
            f"{places.home} is there already and has no marker file of mlxring, so it was left as it is",
            "move it away, or set hosts.home in the profile to another folder",
            host=facts.host,
        )
    actions: list[Action] = []
    if found.home != "ours":
        actions.append(MakeHome())
    python = _ready_python(facts, options, places.venv, found, lacking)
    make = _make_venv(facts, offline=bool(offline_lock)) if python is None else None
    if make is not None and make.python is OWN_PYTHON:
        actions.append(InstallPython(make.uv))
    if not found.has_code:
        actions.append(SendCode())
    unused = found.unused
    if make is not None:
        if offline_lock:
            actions += _wheels(make, facts, offline_lock, found)
        actions.append(make)
    elif found.wheels:
        unused = (*unused, places.wheels.rpartition("/")[2])
    if unused and found.home == "ours":
        actions.append(Remove(unused))
    _check_disk(facts, places.home, actions)
    return Needs(python or f"{places.venv}/bin/python", tuple(actions))


def _make_venv(facts: HostFacts, *, offline: bool) -> MakeVenv:
    usable = any(python.version >= MINIMUM for python in facts.pythons)
    if facts.uv and not usable and not offline:
        return MakeVenv(OWN_PYTHON, facts.uv)
    return MakeVenv(_base_python(facts), facts.uv, offline)


def _wheels(make: MakeVenv, facts: HostFacts, lock: bytes, found: Found) -> list[Action]:
    pins = pins_for(parse_lock(lock), environment_of(facts, make.python))
    lacking = lacking_wheels(pins, found.wheels)
    return [SendWheels(tuple(map(str, lacking)))] if lacking else []


def _ready_python(
    facts: HostFacts, options: HostOptions, venv: str, found: Found, lacking: tuple[str, ...]
) -> str | None:
    if options.python:
        return _given_python(facts, options, lacking)
    if found.has_venv:
        return f"{venv}/bin/python"
    return next((python.path for python in facts.pythons if python.has_lock), None)


def _given_python(facts: HostFacts, options: HostOptions, lacking: tuple[str, ...]) -> str:
    given = given_python(facts, options)
    other = "remove hosts.python from the profile: mlxring then makes an environment of its own"
    if given is None:
        raise ProvisionError(
            f"there is no working Python at {options.python}{_found_instead(facts)}",
            f"correct hosts.python in the profile, or {other}",
            host=facts.host,
        )
    if given.version < MINIMUM:
        raise ProvisionError(
            f"{options.python} is Python {as_text(given.version)}; {as_text(MINIMUM)} or newer is needed",
            f"name a newer one in hosts.python, or {other}",
            host=facts.host,
        )
    if not given.has_lock:
        names = ", ".join(lacking[:4]) + (f" and {len(lacking) - 4} more" if len(lacking) > 4 else "")
        raise ProvisionError(
            f"{options.python} lacks {names or 'locked packages'}",
            f"run there: {quote(given.path)} -m pip install {' '.join(lacking[:4])}"
            f"{' ...' if len(lacking) > 4 else ''}; or {other}",
            host=facts.host,
        )
    return given.path


def given_python(facts: HostFacts, options: HostOptions) -> PythonFound | None:
    """What the facts say of the profile's own interpreter for this host."""
    path = options.python
    path = facts.home + path[1:] if path.startswith("~/") else path
    return next((python for python in facts.pythons if python.path == path), None)


def _base_python(facts: HostFacts) -> PythonFound:
    new_enough = [python for python in facts.pythons if python.version >= MINIMUM]
    usable = [python for python in new_enough if facts.uv or python.has_venv]
    if usable:
        return min(usable, key=lambda python: python.version[:2] >= _NEWEST)
    if new_enough:
        first = new_enough[0]
        package = f"python{as_text(first.version[:2])}-venv"
        raise ProvisionError(
            f"{first.path} (Python {as_text(first.version)}) cannot make virtual environments",
            f"install that part, on Debian and Ubuntu: sudo apt install {package}",
            host=facts.host,
        )
    remedy = {
        "darwin": "brew install python@3.12",
        "linux": "sudo apt install python3 python3-venv (or curl -LsSf https://astral.sh/uv/install.sh | sh)",
    }.get(facts.os, "")
    if facts.uv:  # which cannot fetch one without a network
        remedy = f"{quote(facts.uv)} python install {OWN_PYTHON.path}, or run without --offline"
    raise ProvisionError(
        f"no Python {as_text(MINIMUM)} or newer was found{_found_instead(facts)}",
        f"install one there: {remedy}; or name one in hosts.python",
        host=facts.host,
    )


def _found_instead(facts: HostFacts) -> str:
    if not facts.pythons:
        return ""
    listed = ", ".join(f"{python.path} ({as_text(python.version)})" for python in facts.pythons[:4])
    return f"; found {listed}"


def _check_disk(facts: HostFacts, home: str, actions: list[Action]) -> None:
    wanted = sum(_bytes(action, facts) for action in actions)
    if facts.disk_free_bytes < wanted:
        raise ProvisionError(
            f"the disk of {home} has {format_bytes(facts.disk_free_bytes)} free; "
            f"{format_bytes(wanted)} are needed",
            "free space there, or set hosts.home in the profile to a folder on another disk",
            host=facts.host,
        )


def _bytes(action: Action, facts: HostFacts) -> int:
    match action:
        case MakeVenv():
            return VENV_BYTES.get(facts.os, GIB) + (CUDA_BYTES if facts.cuda else 0)
        case SendWheels():
            return WHEELS_BYTES
        case InstallPython():
            return PYTHON_BYTES
        case MakeHome() | SendCode():
            return CODE_BYTES
        case Remove():
            return 0
