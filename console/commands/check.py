"""``mlxring check``: the profile, what each host is, and whether they reach each other; changes nothing."""

import argparse
import time

from console.cluster.facts_in_use import in_the_way
from console.commands.host_lines import host_lines
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.logs.text import safe_line, safe_text
from ringcore.spec.errors import MlxringError
from ringcore.spec.facts import HostFacts, Measured


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument(
        "--measure", action="store_true", help="measure how fast each host is; later plans count with it"
    )


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        failure = None
        facts: dict[str, HostFacts] = {}
        measured: dict[str, Measured] = {}
        try:
            if arguments.measure:
                measured = await session.operator.measure()
            else:
                await session.operator.check()
            facts = session.operator.facts
            await session.operator.check_network()
        except MlxringError as error:
            failure = error.failure
            facts = session.operator.facts
        if arguments.json:
            answer(
                {
                    "ok": failure is None,
                    "profile": session.profile,
                    "hosts": [
                        {
                            "name": host.name,
                            "facts": facts.get(host.name),
                            "measured": measured.get(host.name),
                            "failure": host.failure,
                        }
                        for host in session.state.hosts
                    ],
                    "network": session.operator.network_notes,
                    "in_the_way": in_the_way(session.profile, facts),
                }
            )
        else:
            for host in session.state.hosts:
                known = facts.get(host.name)
                lines = host_lines(known, time.time(), measured.get(host.name)) if known else ["not reached"]
                for number, line in enumerate(lines):
                    say(f"{host.rank}  {host.name:<12} {line}" if number == 0 else " " * 16 + line)
            for note in (*session.operator.network_notes, *in_the_way(session.profile, facts)):
                say(f"\n{safe_line(str(note))}")
            for host in session.state.hosts:
                if host.failure:
                    say(f"\n{safe_text(str(host.failure))}")
        return failure.exit_code if failure else 0

    return with_cluster(arguments, act)
