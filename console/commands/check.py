"""``mlxring check``: the profile, what each host is, and whether they reach each other; changes nothing."""

import argparse

from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.logs.text import safe_line, safe_text
from ringcore.spec.errors import MlxringError
from ringcore.spec.facts import HostFacts
from ringcore.spec.units import format_bytes


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        failure = None
        facts: dict[str, HostFacts] = {}
        try:
            facts = {fact.host: fact for fact in await session.operator.check()}
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
                        {"name": host.name, "facts": facts.get(host.name), "failure": host.failure}
                        for host in session.state.hosts
                    ],
                    "network": session.operator.network_notes,
                }
            )
        else:
            for host in session.state.hosts:
                known = facts.get(host.name)
                say(f"{host.rank}  {host.name:<12} {_line(known) if known else 'not reached'}")
            for note in session.operator.network_notes:
                say(f"\n{safe_line(str(note))}")
            for host in session.state.hosts:
                if host.failure:
                    say(f"\n{safe_text(str(host.failure))}")
        return failure.exit_code if failure else 0

    return with_cluster(arguments, act)


def _line(facts: HostFacts) -> str:
    python = facts.pythons[0].path if facts.pythons else "no python"
    return safe_line(
        f"{facts.os} {facts.arch}  {facts.cores} cores  "
        f"{format_bytes(facts.available_memory_bytes)} of {format_bytes(facts.total_memory_bytes)} free  "
        f"disk {format_bytes(facts.disk_free_bytes)}  {python}"
    )
