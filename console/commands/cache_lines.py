"""What ``mlxring cache`` shows: blocks in memory by rank, in files by host, and how far a transfer is."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from msgspec import Struct

from console.cluster.prefixes import Kept, There
from console.commands.status import prefix_table
from console.state import ClusterState
from ringcore.spec.units import format_bytes

_EVERY_SECONDS = 0.2


class InFiles(Struct, frozen=True, kw_only=True):
    """On one host. When a block was used last (``newest``), and the one that is longest unused (``oldest``),
    in Unix seconds by that host's clock."""

    root: str = ""
    blocks: int = 0
    bytes: int = 0
    oldest: float | None = None
    newest: float | None = None


def in_files(there: There) -> InFiles:
    kept = there.roots.get(there.root, Kept())
    return InFiles(
        root=there.root,
        blocks=kept.blocks,
        bytes=kept.bytes,
        oldest=min(kept.used, default=None),
        newest=max(kept.used, default=None),
    )


def file_table(there: Mapping[str, There], now: float) -> list[str]:
    """By host; ages at ``now``."""
    rows = {name: in_files(each) for name, each in there.items()}
    if not any(row.blocks for row in rows.values()):
        return ["nothing is kept in files on its hosts"]
    lines = ["host            blocks    on disk  used last  longest unused"]
    for name, row in rows.items():
        newest, oldest = _age(row.newest, now), _age(row.oldest, now)
        lines.append(f"{name:<12}  {row.blocks:>8}  {format_bytes(row.bytes):>9}  {newest:>9}  {oldest:>14}")
    return lines


def memory_table(state: ClusterState) -> list[str]:
    """By rank, of a ring that runs."""
    return prefix_table(state) or ["nothing is kept yet"]


class Advancing:
    """How far it is, on a line of the terminal that is written over; nothing where nobody looks."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._shown = 0.0
        self._looks = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._looks and now - self._shown >= _EVERY_SECONDS:
            self._shown = now
            share = 100 * done // max(1, total)
            self._write(f"{self._what} {format_bytes(done)} of {format_bytes(total)}, {share} %")

    def __enter__(self) -> "Advancing":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._write("")

    def _write(self, text: str) -> None:
        sys.stderr.write(f"\r{text:<60}\r")
        sys.stderr.flush()


def _age(used: float | None, now: float) -> str:
    if used is None:
        return "-"
    seconds = max(0, int(now - used))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
