"""What can be done to make a host ready, as values, and each in an operator's words. Does nothing itself."""

from msgspec import Struct

from console.cluster.quoting import quote
from ringcore.spec.facts import PythonFound

# the Python that uv is asked for where a host has none: every locked package has wheels for it
OWN_PYTHON = PythonFound("3.12", (3, 12, 0))


class Places(Struct, frozen=True, kw_only=True):
    """Where things are to be on a host: absolute paths. ``home`` holds all others."""

    home: str
    venv: str
    code: str
    wheels: str

    @property
    def python(self) -> str:
        """Where uv puts an interpreter of ours."""
        return f"{self.home}/python"

    @property
    def lock(self) -> str:
        return f"{self.venv}.lock"


class MakeHome(Struct, frozen=True):
    pass


class SendCode(Struct, frozen=True):
    pass


class InstallPython(Struct, frozen=True):
    """With ``uv`` (its path), into our own folder."""

    uv: str


class SendWheels(Struct, frozen=True):
    """``packages``: those (``name==version``) whose wheels this console sends, as they are not there yet."""

    packages: tuple[str, ...]


class MakeVenv(Struct, frozen=True):
    """With ``uv`` (its path) when it is not empty, else with the interpreter's own venv and pip.

    ``offline``: from the wheels that were sent. ``python.path`` is "3.12" when `InstallPython` goes before.
    """

    python: PythonFound
    uv: str
    offline: bool = False


class Remove(Struct, frozen=True):
    """``names``: folders in home that no ring there uses any more."""

    names: tuple[str, ...]


Action = MakeHome | InstallPython | SendCode | SendWheels | MakeVenv | Remove


class Told(Struct, frozen=True):
    """``text`` for reading, ``command`` much as it runs there."""

    text: str
    command: str


def told(action: Action, places: Places) -> Told:
    """The same words before it is done and while it is done."""
    match action:
        case MakeHome():
            return Told(f"making {places.home}", f"mkdir {quote(places.home)}")
        case SendCode():
            name = places.code.rpartition("-")[2]
            return Told(f"sending ringcore {name}", f"tar -xzf - -C {quote(places.code)}")
        case InstallPython(uv):
            install = f"{quote(uv)} python install --install-dir {quote(places.python)} {OWN_PYTHON.path}"
            return Told(f"installing Python {OWN_PYTHON.path} with uv", install)
        case SendWheels(packages):
            return Told(f"sending {len(packages)} packages", f"cat > {quote(places.wheels)}/*.whl")
        case MakeVenv(python, uv, offline):
            tool = f"{quote(uv)} pip" if uv else f"{quote(f'{places.venv}/bin/python')} -m pip"
            source = f" --no-index --find-links {quote(places.wheels)}" if offline else ""
            install = f"{tool} install{source} --require-hashes -r {quote(places.lock)}"
            with_ = f"Python {python.path}" if python is OWN_PYTHON else python.path
            return Told(f"making an environment with {with_}", install)
        case Remove(names):
            return Told(
                f"removing {', '.join(names)}, which no ring uses",
                f"cd {quote(places.home)} && rm -r {' '.join(map(quote, names))}",
            )
