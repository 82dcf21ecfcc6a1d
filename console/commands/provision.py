"""``mlxring provision``: install what the hosts lack; a second run finds nothing to do."""

import argparse

from console.commands.preparing import configure_preparing, set_up
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.logs.text import safe_line


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    configure_preparing(parser, deploys=False)
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and do nothing")


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        set_up(session, arguments)
        if arguments.dry_run:
            return await _tell(session, json=arguments.json)
        await session.operator.provision()
        if arguments.json:
            answer({"ok": True, "hosts": session.state.hosts})
        else:
            say(f"{len(session.state.hosts)} hosts are ready")
        return 0

    return with_cluster(arguments, act)


async def _tell(session: Session, *, json: bool) -> int:
    """The actions that the run would do, in its order, host by host."""
    intended = await session.operator.intended()
    if json:
        hosts = [{"name": host.name, "actions": intended[host.name]} for host in session.profile.hosts]
        answer({"ok": True, "hosts": hosts})
        return 0
    for host in session.profile.hosts:
        actions = intended[host.name]
        say(f"{host.name}: {'' if actions else 'nothing to do'}".rstrip())
        for number, action in enumerate(actions, 1):
            say(safe_line(f"  {number}. {action.text}"))
            say(safe_line(f"     {action.command}"))
    return 0
