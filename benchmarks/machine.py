"""What the comparison ran on: the machine, the versions, the commit, and which cores are whose."""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from benchmarks.results import Machine

_PACKAGES = ("mlx", "mlx-lm", "scipy-openblas32", "mlxring", "transformers", "uvicorn")
_REPOSITORY = Path(__file__).parent.parent


def choose_cores(ranks: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(the contenders' cores, this client's): every contender has the same ``ranks`` cores, all of them and
    no other, and the client the rest, or the same where there is no rest. Empty where none can be chosen."""
    if sys.platform != "linux":
        return (), ()
    allowed = sorted(os.sched_getaffinity(0))
    theirs, rest = tuple(allowed[:ranks]), tuple(allowed[ranks:])
    return theirs, rest or theirs


def stay_on(cores: Sequence[int]) -> None:
    """Keep this process to ``cores``."""
    if sys.platform == "linux" and cores:
        os.sched_setaffinity(0, cores)


def describe(cores: tuple[int, ...], client: tuple[int, ...], load_before: float) -> Machine:
    return Machine(
        system=platform.platform(),
        processor=_processor(),
        cores=cores,
        cores_there=os.cpu_count() or 1,
        client_cores=client,
        memory_bytes=psutil.virtual_memory().total,
        load_before=load_before,
        load_after=load(),
    )


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """The checked-out commit, with a mark when files differ from it; "" outside a repository."""
    try:
        head = _git("rev-parse", "HEAD")
        return f"{head} and changes" if head and _git("status", "--porcelain") else head
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _git(*arguments: str) -> str:
    ran = subprocess.run(
        ["git", *arguments], cwd=_REPOSITORY, capture_output=True, text=True, timeout=30, check=False
    )
    return ran.stdout.strip() if ran.returncode == 0 else ""


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
