"""``mlxring up``: everything that is missing, then agents and ranks; returns when the ring serves.

A start that fails or is interrupted leaves nothing running.
"""

import argparse

from console.commands.preparing import configure_preparing, set_up
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    configure_preparing(parser)


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        set_up(session, arguments)
        await session.operator.start()
        state = session.state
        if arguments.json:
            answer({"ok": True, "ring": state.name, "phase": state.ring_phase, "api": state.api_url})
        else:
            say(f"{state.name} serves {state.model} at {state.api_url} on {state.hosts[0].name}")
        return 0

    return with_cluster(arguments, act)
