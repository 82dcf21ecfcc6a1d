"""What the commands share that may change a host: where packages come from, and what needs no asking."""

import argparse

from console.commands.runtime import Session
from console.ports import Setup


def configure_preparing(parser: argparse.ArgumentParser, *, deploys: bool = True) -> None:
    parser.add_argument(
        "--offline", action="store_true", help="send the packages from here: hosts need no network"
    )
    if deploys:
        parser.add_argument(
            "--boot",
            action="store_true",
            help="from now on hosts start the ring when they boot (down --boot ends that)",
        )
        parser.add_argument("--yes", action="store_true", help="replace another version of ringcore unasked")


def set_up(session: Session, arguments: argparse.Namespace) -> None:
    """As the command line says."""
    session.operator.setup = Setup(offline=arguments.offline, boot=getattr(arguments, "boot", False))
    if getattr(arguments, "yes", False):
        session.operator.confirm = yes_to_all


async def yes_to_all(question: str) -> bool:
    """The answer of an operator who has said so beforehand."""
    return True
