"""What the commands share that may change a host: where packages come from, and who answers questions."""

import argparse
import asyncio
import sys

from console.commands.runtime import Session
from console.logs.text import safe_line
from console.ports import Confirm, Setup

_LONGEST = 1 << 10


def configure_preparing(parser: argparse.ArgumentParser, *, asks: bool = True) -> None:
    parser.add_argument(
        "--offline", action="store_true", help="send the packages from here: hosts need no network"
    )
    if asks:
        parser.add_argument("--yes", action="store_true", help="replace another version of ringcore unasked")


def set_up(session: Session, arguments: argparse.Namespace) -> None:
    """As the command line says."""
    session.operator.setup = Setup(offline=arguments.offline)
    session.operator.confirm = confirm_with(yes=getattr(arguments, "yes", False))


def confirm_with(*, yes: bool) -> Confirm:
    """Asks on the terminal; where there is none, the answer is ``yes``."""

    async def confirm(question: str) -> bool:
        if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return yes
        sys.stderr.write(f"{safe_line(question)} [y/N] ")
        sys.stderr.flush()
        return (await _line()).strip().lower() in ("y", "yes")

    return confirm


async def _line() -> str:
    """A line of the terminal. Not a thread's `input`, which an interrupt would have to wait for."""
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(sys.stdin.fileno(), lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return sys.stdin.readline(_LONGEST)
