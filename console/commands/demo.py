"""``mlxring demo``: embedded SSH hosts on loopback, a small model, a real ring; ends with the command."""

import argparse
import sys

from console.commands.runtime import Session, run_session
from ringcore.spec.errors import ProfileError


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prompt", metavar="TEXT", help="ask this without the screen, print the answer, end")
    parser.add_argument("--ranks", type=int, default=2, choices=range(1, 5), help="ranks of the ring (2)")


def run(arguments: argparse.Namespace) -> int:
    from console.demo.profile import demo_profile

    profile = demo_profile(arguments.ranks)
    if arguments.prompt is None:
        from console.commands.terminal import need_screen
        from console.compose import open_console

        need_screen("ask without one: `mlxring demo --prompt TEXT`")
        return open_console(profile, start=True, ends_with_console=True)

    if not arguments.prompt.strip():
        raise ProfileError("there is no question", "ask with --prompt TEXT")

    async def act(session: Session) -> int:
        from console.commands.chat import ask, figures
        from console.ports import ChatMessage

        try:
            await session.operator.stop()  # what an earlier demo that was killed has left
            await session.operator.start()
            _, last = await ask(session, [ChatMessage("user", arguments.prompt)], echo=True)
            sys.stdout.write(figures(last) + "\n")
        finally:
            await session.operator.stop()
        return 0

    return run_session(Session(profile), act)
