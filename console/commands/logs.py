"""``mlxring logs``: the log lines of all ranks, merged by time; ``-f`` goes on as they come."""

import argparse
import sys
import time

from console.commands.runtime import Session, configure_profile, with_cluster
from console.logs.text import safe_line
from ringcore.spec.errors import ProfileError
from ringcore.spec.events import LogLine, Recorded, recorded_encoder


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument("-f", "--follow", action="store_true", help="go on with new lines until ctrl+c")
    parser.add_argument("--rank", type=int, metavar="N", help="only this rank's lines, 0 the leader's")


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        last = len(session.profile.hosts) - 1
        if arguments.rank is not None and not 0 <= arguments.rank <= last:
            raise ProfileError(
                f"--rank {arguments.rank}: {session.profile.name} has ranks 0 to {last}", "name one of these"
            )
        session.watchers.append(lambda record: _print(record, arguments))
        await (session.operator.follow() if arguments.follow else session.operator.replay())
        if not any(host.last_seq for host in session.state.hosts):
            from console.cluster.operator import not_running

            raise not_running(session.profile)  # nor has it left a journal
        return 0

    return with_cluster(arguments, act, quiet=True)


def _print(record: Recorded, arguments: argparse.Namespace) -> None:
    event = record.event
    if not isinstance(event, LogLine) or (arguments.rank is not None and event.rank != arguments.rank):
        return
    if arguments.json:
        sys.stdout.write(recorded_encoder.encode(record).decode() + "\n")
    else:
        clock = time.strftime("%H:%M:%S", time.localtime(record.time))
        who = event.source if event.rank is None else f"{event.source} {event.rank}"
        where = f"{clock}.{int(record.time % 1 * 1000):03d} {safe_line(record.host):<12} {who:<8}"
        sys.stdout.write(f"{where} {event.level:<7} {safe_line(event.text)}\n")
    sys.stdout.flush()
