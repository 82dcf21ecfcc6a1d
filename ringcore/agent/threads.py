"""How many threads a rank's arithmetic may use: the cores of this machine over the ranks that share it.

Knows nothing of what computes; it says the number in the variables that OpenBLAS and OpenMP read.
"""

import math
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from ringcore.spec.deployment import Deployment
from ringcore.spec.profile_rules import is_loopback

VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
_ALSO_READ = ("GOTO_NUM_THREADS",)  # by OpenBLAS, between the two


def thread_variables(deployment: Deployment, environment: Mapping[str, str], cores: int) -> dict[str, str]:
    """What a rank's environment needs beyond ``environment``: nothing when the operator has chosen."""
    if any(environment.get(name) for name in (*VARIABLES, *_ALSO_READ)):
        return {}
    return dict.fromkeys(VARIABLES, str(max(1, cores // ranks_here(deployment))))


def ranks_here(deployment: Deployment) -> int:
    """Ranks of this ring on this machine. A loopback address is every machine's own: all that have one
    are here."""
    mine = deployment.me.address
    if is_loopback(mine):
        return sum(is_loopback(member.address) for member in deployment.members)
    return sum(member.address == mine for member in deployment.members)


def usable_cores() -> int:
    """Cores that this process may run on: those of its affinity mask, counted once for all threads that
    one core runs, and no more than the quota of its control group pays for."""
    allowed = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    physical = psutil.cpu_count(logical=False) or allowed
    paid = cpu_quota() if sys.platform == "linux" else math.inf
    return int(max(1, min(allowed, physical, paid)))


def cpu_quota(proc: Path = Path("/proc/self/cgroup"), groups: Path = Path("/sys/fs/cgroup")) -> float:
    """Processors' worth of time that the control groups above this process leave it; infinite without.

    Format: cgroups(7); version 2 has ``cpu.max`` ("QUOTA PERIOD"), version 1 two files.
    """
    quota = math.inf
    try:
        lines = proc.read_text().splitlines()
    except OSError:
        return quota
    for entry in lines:
        _, controllers, path = entry.split(":", 2)
        if not controllers:
            top = groups
        elif "cpu" in controllers.split(","):
            top = groups / controllers
        else:
            continue
        folder = top / path.strip("/")
        # In a container the path may be the outer one: what is not there says nothing.
        for place in (folder, *folder.parents):
            quota = min(quota, _quota_of(place))
            if place == top:
                break
    return quota


def _quota_of(folder: Path) -> float:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (OSError, ValueError, ZeroDivisionError):  # "max", or no such group here
        return math.inf
