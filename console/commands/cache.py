"""``mlxring cache``: what is kept of earlier prompts and answers, in memory and in files on the hosts.

``--export`` brings the files into one archive here, ``--import`` puts such an archive on the hosts of a ring
that does not run, ``--clear`` has all of it go. What prompts said can be recovered from an archive.
"""

import argparse
import time
from pathlib import Path

from console.commands.cache_lines import Advancing, file_table, in_files, memory_table
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.logs.text import safe_text
from ringcore.spec.errors import NotRunning
from ringcore.spec.units import format_bytes


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--list", action="store_true", help="what is kept, and what that was good for (default)"
    )
    what.add_argument("--clear", action="store_true", help="keep nothing, in memory and in files")
    what.add_argument(
        "--export",
        type=Path,
        metavar="FILE",
        help="collect what lies in files on all hosts, also while the ring runs; FILE is as private as the "
        "prompts, which can be recovered from it",
    )
    what.add_argument(
        "--import",
        type=Path,
        metavar="FILE",
        dest="take",
        help="put what --export wrote on the hosts, while the ring does not run; only for the same weights",
    )


def run(arguments: argparse.Namespace) -> int:
    async def clear(session: Session) -> int:
        running = await session.operator.forget_prefixes()
        if arguments.json:
            answer({"ok": True, "running": running})
        else:
            say("the ring was told to keep nothing" if running else "the files on all hosts are removed")
        return 0

    async def bring(session: Session) -> int:
        with Advancing("collected") as advance:
            done = await session.operator.export_prefixes(arguments.export, advance)
        if arguments.json:
            answer(done)
            return 0
        say(
            f"{done.blocks} blocks, {format_bytes(done.bytes)}, are in {done.file}: as private as the prompts"
        )
        if done.partial:
            say(f"{done.partial} blocks were left out: some of their layers are on no host")
        if done.gone:
            say(f"{done.gone} blocks were removed from the hosts meanwhile")
        return 0

    async def take(session: Session) -> int:
        with Advancing("sent") as advance:
            done = await session.operator.import_prefixes(arguments.take, advance)
        if arguments.json:
            answer(done)
            return 0
        say(
            f"{done.blocks} blocks are on the hosts: {done.files} files, {format_bytes(done.bytes)}, were "
            f"sent; {done.there} were there"
        )
        if not done.known:
            say(
                "this ring has kept nothing in files yet: when it starts, its ranks see whether these are of "
                "their weights, and remove them if not"
            )
        return 0

    async def show(session: Session) -> int:
        running = await session.operator.replay()
        state = session.state
        there = {} if running else await session.operator.kept()
        if arguments.json:
            kept = {host.name: host.memory.prefix for host in state.hosts if host.memory}
            files = {name: in_files(each) for name, each in there.items()}
            answer({"running": running, "hosts": kept, "files": files})
        elif running:
            say(safe_text("\n".join(memory_table(state))))
        else:
            say(f"{session.profile.name} does not run")
            say(safe_text("\n".join(file_table(there, time.time()))))
        return 0 if running else NotRunning.exit_code

    acts = {arguments.clear: clear, arguments.export is not None: bring, arguments.take is not None: take}
    return with_cluster(arguments, acts.get(True, show), quiet=True)
