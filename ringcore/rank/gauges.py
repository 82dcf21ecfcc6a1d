"""What bounds this process's memory, and how much of each bound is used now.

The plan's ceiling is compared with what MLX holds; what the system enforces (cgroup, resource limits, the
host's own memory) with what the system counts. Decides nothing: that is `ringcore.rank.memory`.
"""

import resource
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import mlx.core as mx
import psutil
from msgspec import Struct

from ringcore.spec.plan import Stage
from ringcore.spec.units import GIB, MIB

_CGROUPS = Path("/sys/fs/cgroup")
_MOST_SPARE = 256 * MIB
_PART = 16  # of a limit that is kept free
_HOST_PART, _MOST_HOST_SPARE = 32, GIB


class Reading(Struct, frozen=True, kw_only=True):
    """``spare``: what should stay free beside the next step. ``deadly``: passing it ends the process.
    ``steps``: what steps take is taken of it (a card with memory of its own leaves the host's alone)."""

    used: int
    limit: int
    spare: int
    source: str
    deadly: bool
    steps: bool = True

    @property
    def left(self) -> int:
        return self.limit - self.used


Gauge = Callable[[], Reading | None]


def gauges(planned: Stage) -> list[Gauge]:
    """Those that bound this process, found once; each is read again and again."""
    process = psutil.Process()
    found: list[Gauge] = [lambda: _plan(planned), _host]
    found += [_cgroup(folder) for folder in cgroup_folders(Path("/proc/self/cgroup"), _CGROUPS)]
    if sys.platform == "linux":
        found += _resource_limits(process)
    if working_set := _working_set():
        found.append(lambda: _limit(mx.get_active_memory(), working_set, "Metal's working set"))
    return found


def cgroup_folders(own: Path, root: Path) -> Iterator[Path]:
    """Folders of the memory cgroups of this process, from its own up, that have a limit (v1 and v2)."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        top = root if not kinds else root / "memory" if "memory" in kinds.split(",") else None
        if top is None:
            continue
        folder = top / path.lstrip("/")
        # In a container the path may be the host's: then its own group is at the top.
        for each in (folder, *folder.parents) if folder.is_dir() else (top,):
            if _cgroup_limit(each):
                yield each
            if each == top:
                break


def read_cgroup(folder: Path) -> Reading | None:
    """None when its files are gone or have no limit. Page cache of files is not counted: it is given up."""
    limit = _cgroup_limit(folder)
    used = _number(folder / "memory.current") or _number(folder / "memory.usage_in_bytes")
    if not limit or used is None:
        return None
    try:
        stat = dict(line.split(maxsplit=1) for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):
        stat = {}
    cached = sum(
        int(stat.get(f"total_{name}", stat.get(name, 0))) for name in ("inactive_file", "active_file")
    )
    return _limit(max(0, used - cached), limit, "the limit of its cgroup")


def _plan(planned: Stage) -> Reading:
    return Reading(
        used=mx.get_active_memory(),
        limit=planned.ceiling_bytes,
        spare=planned.reserve_bytes,
        source="its ceiling in the plan",
        deadly=False,
    )


def _host() -> Reading:
    memory = psutil.virtual_memory()
    return Reading(
        used=memory.total - memory.available,
        limit=memory.total,
        spare=min(_MOST_HOST_SPARE, memory.total // _HOST_PART),
        source="the host's memory",
        deadly=sys.platform == "linux",  # macOS compresses and swaps first
        steps=not _own_memory(),
    )


def _cgroup(folder: Path) -> Gauge:
    return lambda: read_cgroup(folder)


def _resource_limits(process: psutil.Process) -> list[Gauge]:
    found: list[Gauge] = []
    space, data = resource.getrlimit(resource.RLIMIT_AS)[0], resource.getrlimit(resource.RLIMIT_DATA)[0]
    if space != resource.RLIM_INFINITY:
        found.append(lambda: _limit(process.memory_info().vms, space, "its limit of address space"))
    if data != resource.RLIM_INFINITY:
        found.append(lambda: _limit(process.memory_info().data, data, "its limit of data"))
    return found


def _working_set() -> int:
    if not mx.metal.is_available():
        return 0
    return int(mx.device_info().get("max_recommended_working_set_size", 0))


def _limit(used: int, limit: int, source: str) -> Reading:
    spare = min(_MOST_SPARE, limit // _PART)
    return Reading(used=used, limit=limit, spare=spare, source=source, deadly=True, steps=not _own_memory())


@cache
def _own_memory() -> bool:
    """MLX computes on a card that has memory of its own."""
    return mx.default_device().type == mx.DeviceType.gpu and not mx.metal.is_available()


def _cgroup_limit(folder: Path) -> int:
    """0 for none."""
    limit = _number(folder / "memory.max") or _number(folder / "memory.limit_in_bytes") or 0
    return limit if limit < 1 << 60 else 0


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None
