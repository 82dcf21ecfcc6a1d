"""``mlxring models``: which architectures of mlx-lm can be cut into stages; asks no host."""

import argparse
from typing import get_args

from console.commands.folding import folded
from console.commands.folding import width as terminal_width
from console.commands.runtime import answer, say
from ringcore.planning.architectures import SAME_AS, Architecture, Status, table
from ringcore.planning.kv_bits import WITHOUT


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--only", choices=get_args(Status), help="only architectures of this status")


def run(arguments: argparse.Namespace) -> int:
    rows = [row for row in table() if arguments.only in (None, row.status)]
    if arguments.json:
        answer({"architectures": rows, "same_as": SAME_AS, "without_kv_bits": WITHOUT})
    else:
        say(text(rows, terminal_width()))
    return 0


def text(rows: list[Architecture], width: int = 0) -> str:
    """A line an architecture, with what is against it, or against ``kv_bits``; then how many there are of
    each status. Folded to ``width`` cells."""
    wide = max((len(row.name) for row in rows), default=0)
    lines = [f"{row.name:<{wide}}  {row.status:<8}  {_against(row)}".rstrip() for row in rows]
    lines = [*folded(lines, width, hang=wide + 12 if width > wide + 44 else 2)]
    counts = [(status, sum(row.status == status for row in rows)) for status in get_args(Status)]
    told = ", ".join(f"{count} {status}" for status, count in counts if count)
    return "\n".join([*lines, "", told])


def _against(row: Architecture) -> str:
    return f"no kv_bits: {WITHOUT[row.name]}" if row.name in WITHOUT else row.reason
