"""What of a host is in use already: agents of other rings, TCP ports; and what of it would be in our way.

Pure: output of the hosts' commands in, values out; facts in, sentences out.
"""

import re
import socket
from collections.abc import Mapping

from ringcore.spec.facts import AgentFound, HostFacts, Listening
from ringcore.spec.profile import Profile

_AGENT = re.compile(
    r"^\s*(\S+)\s+([0-9]+)\s+\S.*? -m ringcore agent --run (.+?) (?:--report-fd [0-9]+|--stay)\s*$",
    re.MULTILINE,
)
_KERNEL = re.compile(r"^\s*[0-9]+: ([0-9A-F]{8}|[0-9A-F]{32}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A ", re.M)
_NETSTAT = re.compile(r"^tcp\S*\s+[0-9]+\s+[0-9]+\s+(\S+)\.([0-9]+)\s+\S+\s+LISTEN", re.MULTILINE)
_CLOCK_SECONDS = 2.0  # by which log lines of two hosts come out of order where a person sees it


def parse_agents(text: str) -> tuple[AgentFound, ...]:
    """``ps -o user= -o pid= -o args=``, the lines that hold an agent's command."""
    return tuple(
        AgentFound(run.rstrip("/").rpartition("/")[2], user, int(pid), run)
        for user, pid, run in _AGENT.findall(text)
    )


def parse_listening(text: str) -> tuple[Listening, ...]:
    """Linux ``/proc/net/tcp`` and ``tcp6``, or macOS ``netstat -an -p tcp``."""
    found = [Listening(_kernel_address(address), int(port, 16)) for address, port in _KERNEL.findall(text)]
    found += [Listening("" if at == "*" else at, int(port)) for at, port in _NETSTAT.findall(text)]
    return tuple(dict.fromkeys(found))


def in_the_way(profile: Profile, facts: Mapping[str, HostFacts]) -> tuple[str, ...]:
    """One sentence for each thing that an operator should know before the ring starts."""
    said: list[str] = []
    for rank, options in enumerate(profile.hosts):
        fact = facts.get(options.name)
        if fact is None:
            continue
        said += [f"{options.name}: {text}" for text in (*_clock(fact), *_others(profile, fact))]
        if profile.name not in fact.rings:
            wanted = {profile.ring.port + 1 + rank: (options.address, "the ring's link")}
            if rank == 0:
                wanted[profile.ring.port] = (options.address, "the agents' channel")
                wanted[profile.api.port] = (profile.api.bind, "the API")
            said += [f"{options.name}: {text}" for text in _taken(fact, wanted)]
    return tuple(said)


def _clock(fact: HostFacts) -> list[str]:
    skew = fact.clock_skew_seconds
    if abs(skew) < _CLOCK_SECONDS:
        return []
    way = "ahead of" if skew > 0 else "behind"
    return [
        f"its clock is {abs(skew):.0f} s {way} this machine's: log lines are merged out of order, and "
        "downloads may be refused; set it (sudo timedatectl set-ntp true, or on macOS: "
        "sudo sntp -sS time.apple.com)"
    ]


def _others(profile: Profile, fact: HostFacts) -> list[str]:
    return [
        f"the ring {agent.ring} of {agent.user} runs here too and takes its share of memory (pid {agent.pid})"
        for agent in fact.agents
        if not (agent.ring == profile.name and agent.user == fact.user)
    ]


def _taken(fact: HostFacts, wanted: Mapping[int, tuple[str, str]]) -> list[str]:
    return [
        f"port {port}, which {use} needs on {address}, is taken by another program (`lsof -i :{port}`)"
        for port, (address, use) in sorted(wanted.items())
        if any(one.port == port and _overlap(one.address, address) for one in fact.listening)
    ]


def _overlap(one: str, other: str) -> bool:
    everywhere = ("", "0.0.0.0", "::", "*")
    return one == other or one in everywhere or other in everywhere


def _kernel_address(text: str) -> str:
    """Words of 32 bits in the machine's own order, which is little-endian wherever MLX runs."""
    words = [bytes.fromhex(text[at : at + 8])[::-1] for at in range(0, len(text), 8)]
    packed = b"".join(words)
    if not any(packed):
        return ""
    if len(packed) == 16 and packed.startswith(bytes(10) + b"\xff\xff"):
        packed = packed[12:]
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)
