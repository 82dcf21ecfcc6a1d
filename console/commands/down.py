"""``mlxring down``: end the ring on every host; ``--purge`` also removes what was installed there."""

import argparse

from console.commands.runtime import Session, answer, configure_profile, say, with_cluster


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument("--purge", action="store_true", help="remove ~/.mlxring on every host as well")


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        if arguments.purge:
            await session.operator.purge()
        else:
            await session.operator.stop()
        if arguments.json:
            answer({"ok": True, "ring": session.profile.name, "purged": arguments.purge})
        else:
            say(f"{session.profile.name} is down{' and removed' if arguments.purge else ''}")
        return 0

    return with_cluster(arguments, act)
