"""``mlxring key``: the key that clients of the ring's API send, on stdout and nowhere else."""

import argparse

from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from ringcore.spec.errors import ProfileError


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument(
        "--new", action="store_true", help="replace it; counts when the ring is started the next time"
    )


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        if not session.profile.api.asks_key:
            raise ProfileError(
                f"the API of {session.profile.name} asks for no key, as the profile says",
                'to ask for one on loopback too, write key = "always" under [api] in the profile',
            )
        operator = session.operator
        key = await (operator.new_api_key() if arguments.new else operator.api_key())
        if arguments.json:
            answer({"key": key})
        else:
            say(key)
        return 0

    return with_cluster(arguments, act, quiet=True)
