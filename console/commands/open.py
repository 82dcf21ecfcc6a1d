"""``mlxring PROFILE``: the console. Attaches to the ring if it runs; quitting leaves it running."""

import argparse

from console.commands.runtime import configure_profile


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser, json=False)
    parser.add_argument("--start", action="store_true", help="start the ring at once when it does not run")


def run(arguments: argparse.Namespace) -> int:
    from console.commands.terminal import need_screen
    from console.compose import open_console
    from ringcore.spec.profile_file import load_profile

    profile = load_profile(arguments.profile)
    need_screen("`mlxring up`, `status`, `logs` and `chat` do the same without one")
    return open_console(
        profile,
        start=arguments.start,
        accept_new_host_keys=arguments.accept_new_host_keys,
    )
