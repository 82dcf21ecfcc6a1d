"""Measures how fast a host is, with what is installed there, and remembers it in this user's state folder.

What was measured on another device than ranks will use there says nothing of them and is not remembered.
"""

import os
import tempfile
import time
from importlib import resources
from pathlib import Path

import msgspec
from msgspec import Struct, structs

from console.audit import audit_file
from console.cluster.code_archive import code_archive
from console.cluster.facts import expanded, lock_of
from console.cluster.host import Host
from console.cluster.lock import lock_hash
from console.cluster.remote import DEFAULT_HOME
from ringcore.planning.machines import machines_of
from ringcore.spec.errors import HostError, MlxringError
from ringcore.spec.facts import HostFacts, Measured
from ringcore.spec.profile import HostOptions, Profile

_TIMEOUT = 120.0  # a GPU compiles its kernels first
# $1 program, $2 folder with the code, the rest: interpreters, the best first
_RUN = """
program=$1 code=$2; shift 2
for python; do [ -x "$python" ] && exec "$python" -I -B -c "$program" "$code"; done
echo "no Python was found" >&2; exit 1
"""


class _Answer(Struct, frozen=True):
    bandwidth: float
    compute: float
    computes_with: str
    gpu_limit_bytes: int = 0


async def measure(host: Host, facts: HostFacts) -> Measured:
    """A few seconds of work there. Raises `HostError`."""
    home = expanded(host.options.home or DEFAULT_HOME, facts.home).rstrip("/")
    program = resources.files("ringcore.measure").joinpath("speed.py").read_text()
    made = f"{home}/venv-{lock_hash(lock_of(facts))}/bin/python"
    ready = [python.path for python in facts.pythons if python.has_lock]
    rest = [python.path for python in facts.pythons if not python.has_lock]
    pythons = [*ready, made, *rest] if host.options.python else [made, *ready, *rest]
    code = f"{home}/code-{code_archive().hash}"
    result = await host.run(["/bin/sh", "-c", _RUN, "sh", program, code, *pythons], timeout=_TIMEOUT)
    try:
        answer = msgspec.json.decode(result.stdout.strip().rpartition("\n")[2], type=_Answer)
    except msgspec.MsgspecError:
        said = (result.stderr or result.stdout).strip()[-300:] or f"status {result.status}"
        raise HostError(
            f"the host could not measure itself: {said}",
            "see that its Python works, or leave --measure away",
            host=host.options.name,
        ) from None
    return Measured(
        bandwidth=answer.bandwidth,
        compute=answer.compute,
        computes_with=answer.computes_with,
        when=time.time(),
        gpu_limit_bytes=answer.gpu_limit_bytes,
    )


def measured_by(profile: Profile) -> dict[str, str]:
    """Host -> the host that measures for it: ranks on one machine would only measure each other."""
    machines = machines_of(profile)
    first = {machine: host.name for machine, host in reversed([*zip(machines, profile.hosts, strict=True)])}
    return {host.name: first[machine] for machine, host in zip(machines, profile.hosts, strict=True)}


def counts(facts: HostFacts, found: Measured) -> bool:
    """It was measured on what ranks will compute with."""
    on_gpu = facts.os == "darwin" or facts.cuda is not None
    return found.computes_with.startswith("gpu" if on_gpu else "cpu") and found.bandwidth > 0


class Speeds:
    """What was measured of each machine, in one file. ``path`` is made when something is remembered."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def known(self, options: HostOptions, facts: HostFacts) -> HostFacts:
        """``facts`` with what was measured of this machine; without when it has another chip by now."""
        return structs.replace(facts, measured=self._read().get(_key(options, facts)))

    def remember(self, options: HostOptions, facts: HostFacts, found: Measured) -> None:
        """Where it counts. Raises `MlxringError` when the file cannot be written."""
        if not counts(facts, found):
            return
        data = msgspec.json.format(msgspec.json.encode(self._read() | {_key(options, facts): found}))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.NamedTemporaryFile(dir=self._path.parent, delete=False) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(self._path)
        except OSError as error:
            raise MlxringError(
                f"what was measured cannot be kept in {self._path}: {error.strerror or error}",
                "set XDG_STATE_HOME to a folder that you may write",
            ) from None

    def _read(self) -> dict[str, Measured]:
        """What cannot be read was never measured."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Measured])
        except (OSError, msgspec.MsgspecError):
            return {}


def speeds_file() -> Path:
    """Beside the audit log, in this user's state folder."""
    return audit_file().with_name("speeds.json")


def _key(options: HostOptions, facts: HostFacts) -> str:
    machine = options.ssh.rpartition("@")[2].lower()
    card = facts.cuda.name if facts.cuda else ""
    return f"{machine} | {facts.chip} | {facts.cores} cores | {card}"
