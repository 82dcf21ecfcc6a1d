"""A real bound on the memory of a process and its children: a cgroup where one can be made, else a limit."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

_ROOT = Path("/sys/fs/cgroup")


class Bound(Struct, frozen=True):
    """``inside`` runs the rest of its arguments in it. ``folder``: the cgroup, None for a limit."""

    inside: tuple[str, ...]
    folder: Path | None

    @property
    def peak_bytes(self) -> int:
        """The most that was ever in use; 0 where nothing counts it."""
        for name in ("memory.peak", "memory.max_usage_in_bytes"):
            if self.folder and (self.folder / name).exists():
                return int((self.folder / name).read_text())
        return 0


@contextlib.contextmanager
def bounded(limit: int) -> Iterator[Bound]:
    """A bound of ``limit`` bytes. Processes in it must have ended before it is left."""
    group = _group(limit)
    if group is None:
        yield Bound(("/bin/sh", "-c", f'ulimit -d {limit >> 10} && exec "$@"', "sh"), None)
        return
    try:
        yield Bound(("/bin/sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh"), group)
    finally:
        group.rmdir()


def _group(limit: int) -> Path | None:
    name = f"mlxring-test-{os.getpid()}-{uuid.uuid4().hex[:6]}"
    for parent, file in ((_ROOT, "memory.max"), (_ROOT / "memory", "memory.limit_in_bytes")):
        group = parent / name
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                if not (group / file).exists():  # the kernel makes it, where this is a cgroup at all
                    raise OSError
                (group / file).write_text(str(limit))
                with contextlib.suppress(OSError):
                    (group / "memory.swap.max").write_text("0")
                return group
            except OSError:
                group.rmdir()
    return None
