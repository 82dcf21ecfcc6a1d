"""``mlxring down``: end the ring on every host; ``--purge`` also removes what was installed there.

A ring that was started with ``--boot`` starts again when its hosts boot, unless ``--boot`` is said here too.
"""

import argparse

from console.commands.preparing import yes_to_all
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument(
        "--boot", action="store_true", help="nor start it when hosts boot, as up --boot had it"
    )
    parser.add_argument("--purge", action="store_true", help="remove ~/.mlxring on every host as well")
    parser.add_argument("--yes", action="store_true", help="end it unasked, whoever started it")
    parser.add_argument(
        "--take-over", action="store_true", help="break off what another operator is doing to the ring"
    )


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        if arguments.yes:
            session.operator.confirm = yes_to_all
        session.operator.take_over = arguments.take_over
        if arguments.purge:
            await session.operator.purge()
        else:
            await session.operator.stop(boot=arguments.boot)
        if arguments.json:
            answer({"ok": True, "ring": session.profile.name, "purged": arguments.purge})
        else:
            say(f"{session.profile.name} is down{' and removed' if arguments.purge else ''}")
        return 0

    return with_cluster(arguments, act)
