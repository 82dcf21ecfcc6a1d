"""``mlxring cache``: what each rank keeps of earlier prompts and answers; ``--clear`` has all of it go."""

import argparse

from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.commands.status import prefix_table
from ringcore.spec.errors import NotRunning


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list", action="store_true", help="what is kept, and what that was good for (default)"
    )
    what.add_argument("--clear", action="store_true", help="keep nothing, in memory and in files")


def run(arguments: argparse.Namespace) -> int:
    async def clear(session: Session) -> int:
        running = await session.operator.forget_prefixes()
        if arguments.json:
            answer({"ok": True, "running": running})
        else:
            say("the ring was told to keep nothing" if running else "the files on all hosts are removed")
        return 0

    async def show(session: Session) -> int:
        running = await session.operator.replay()
        state = session.state
        if arguments.json:
            kept = {host.name: host.memory.prefix for host in state.hosts if host.memory}
            answer({"running": running, "hosts": kept})
        elif not running:
            say(f"{session.profile.name} does not run")
        else:
            say("\n".join(prefix_table(state)) or "nothing is kept yet")
        return 0 if running else NotRunning.exit_code

    return with_cluster(arguments, clear if arguments.clear else show, quiet=True)
