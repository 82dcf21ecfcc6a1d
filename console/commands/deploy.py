"""``mlxring deploy``: code, plan and secret on every host, ready to start."""

import argparse

from console.commands.preparing import configure_preparing, set_up
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    configure_preparing(parser)


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        set_up(session, arguments)
        plan = await session.operator.deploy()
        if arguments.json:
            answer({"ok": True, "plan": plan.digest, "hosts": session.state.hosts})
        else:
            say(f"plan {plan.digest} is on {len(plan.stages)} hosts")
        return 0

    return with_cluster(arguments, act)
