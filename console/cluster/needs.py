"""Decides what a host still needs before a rank can run there. Pure: facts and findings in, actions out."""

from typing import Literal

from msgspec import Struct

from console.cluster.pythons import MINIMUM, as_text
from ringcore.spec.errors import ProvisionError
from ringcore.spec.facts import HostFacts, PythonFound
from ringcore.spec.profile import HostOptions
from ringcore.spec.units import GIB, MIB, format_bytes

# packages, what the installer downloads and unpacks on the way; measured and rounded up
VENV_BYTES = {"linux": 3 * GIB // 2, "darwin": GIB}
CODE_BYTES = 16 * MIB
_NEWEST = (3, 15)  # versions from here on have no wheels of every locked package yet


HomeState = Literal["absent", "empty", "ours", "foreign"]


class Found(Struct, frozen=True, kw_only=True):
    """What is there of ours. ``foreign``: something without our marker lies where home should be."""

    home: HomeState
    has_venv: bool
    has_code: bool


class MakeHome(Struct, frozen=True):
    pass


class SendCode(Struct, frozen=True):
    pass


class MakeVenv(Struct, frozen=True):
    """With ``uv`` (its path) when it is not empty, else with the interpreter's own venv and pip."""

    python: PythonFound
    uv: str


Action = MakeHome | SendCode | MakeVenv


class Needs(Struct, frozen=True):
    """``python`` is the interpreter that ranks use once ``actions`` are done, in their order."""

    python: str
    actions: tuple[Action, ...]


def needs(
    facts: HostFacts, options: HostOptions, home: str, venv: str, found: Found, lacking: tuple[str, ...] = ()
) -> Needs:
    """Raises `ProvisionError` when the host cannot be made ready, with what must change there.

    ``home`` and ``venv`` are absolute paths there. ``lacking``: packages that ``options.python`` has not.
    """
    if found.home == "foreign":
        raise ProvisionError(
            f"{home} is there already and has no marker file of mlxring, so it was left as it is",
            "move it away, or set hosts.home in the profile to another folder",
            host=facts.host,
        )
    actions: list[Action] = []
    if found.home != "ours":
        actions.append(MakeHome())
    if not found.has_code:
        actions.append(SendCode())
    python = _ready_python(facts, options, venv, found, lacking)
    if python is None:
        actions.append(MakeVenv(_base_python(facts), facts.uv))
        python = f"{venv}/bin/python"
    _check_disk(facts, home, actions)
    return Needs(python, tuple(actions))


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
            f"run there: {options.python} -m pip install {' '.join(lacking[:4])}"
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
    if facts.uv:
        remedy = f"{facts.uv} python install 3.12"
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
    wanted = CODE_BYTES if actions else 0
    if any(isinstance(action, MakeVenv) for action in actions):
        wanted += VENV_BYTES.get(facts.os, GIB)
    if facts.disk_free_bytes < wanted:
        raise ProvisionError(
            f"the disk of {home} has {format_bytes(facts.disk_free_bytes)} free; "
            f"{format_bytes(wanted)} are needed",
            "free space there, or set hosts.home in the profile to a folder on another disk",
            host=facts.host,
        )
