"""``mlxring provision``: install what the hosts lack; a second run finds nothing to do."""

import argparse

from console.commands.runtime import Session, answer, configure_profile, say, with_cluster


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        await session.operator.provision()
        if arguments.json:
            answer({"ok": True, "hosts": session.state.hosts})
        else:
            say(f"{len(session.state.hosts)} hosts are ready")
        return 0

    return with_cluster(arguments, act)
