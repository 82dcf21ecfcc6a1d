"""Reads what a host is and has, in one round trip; what the answers mean is said elsewhere."""

import secrets
import time
from collections.abc import Mapping

from console.cluster.facts_in_use import parse_agents, parse_listening
from console.cluster.facts_memory import (
    Memory,
    parse_gpus,
    parse_mac_memory,
    parse_meminfo,
    parse_os_version,
)
from console.cluster.facts_parse import (
    clock_skew,
    parse_chip,
    parse_count,
    parse_df,
    parse_ifconfig,
    parse_ip,
    sections,
)
from console.cluster.facts_script import SCRIPT
from console.cluster.host import Host
from console.cluster.lock import lock_text, parse_lock
from console.cluster.pythons import PROBE, Interpreter, found_pythons, parse_probe
from console.cluster.remote import DEFAULT_HOME
from ringcore.spec.errors import HostError
from ringcore.spec.facts import Gpu, HostFacts, NetworkAddress, PythonFound, card_of
from ringcore.spec.profile import HostOptions
from ringcore.spec.units import MIB

_TIMEOUT = 20.0  # a cold disk and a dozen interpreters
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}


async def gather_facts(host: Host) -> HostFacts:
    """Raises `HostError` when the host does not answer, or is neither Linux nor macOS."""
    options = host.options
    mark = f"@{secrets.token_hex(8)}"
    argv = ["/bin/sh", "-c", SCRIPT, "sh", mark, options.home or DEFAULT_HOME, options.python, PROBE]
    before = time.time()
    result = await host.run(argv, timeout=_TIMEOUT)
    found = sections(result.stdout, mark)
    if "end" not in found:
        said = result.stderr.strip()[-300:] or f"status {result.status}"
        raise HostError(
            f"reading the host's facts broke off: {said}",
            "see that /bin/sh works there for this user",
            host=options.name,
        )
    try:
        return read_facts(found, options, before, time.time())
    except (ValueError, KeyError, OverflowError) as error:  # numbers and names beyond all reason
        raise HostError(
            f"what the host says of itself makes no sense: {type(error).__name__}: {str(error)[:200]}",
            "see what `uname`, `df`, `id` and `ps` print there for this user",
            host=options.name,
        ) from None


def read_facts(found: Mapping[str, str], options: HostOptions, before: float, after: float) -> HostFacts:
    """The sections of the script's output as facts. ``before`` and ``after``: this clock around its run."""
    kernel, _, arch = found["uname"].strip().partition(" ")
    if kernel not in _SYSTEMS:
        raise HostError(
            f"the host runs {kernel or 'an unknown system'}",
            "use a host with macOS or Linux",
            host=options.name,
        )
    memory = _memory(found)
    gpus = parse_gpus(found.get("gpus", ""))
    home = found["home"].strip()
    return HostFacts(
        host=options.name,
        os=_SYSTEMS[kernel],
        arch=arch,
        user=found["user"].strip(),
        home=home,
        shell=found["shell"].strip(),
        cores=parse_count(found["cores"]),
        total_memory_bytes=memory.total,
        available_memory_bytes=min(memory.available, memory.total),
        reclaimable_memory_bytes=memory.reclaimable,
        swap_bytes=memory.swap,
        swap_used_bytes=memory.swap_used,
        disk_free_bytes=parse_df(found["disk"]),
        chip=parse_chip(found["chip"]),
        pythons=_pythons(found["pythons"], expanded(options.python, home), _lock(gpus)),
        uv=found["uv"].strip(),
        addresses=_addresses(found),
        clock_skew_seconds=clock_skew(parse_count(found["clock"]), before, after),
        rings=tuple(found["rings"].split()),
        agents=parse_agents(found.get("agents", "")),
        listening=parse_listening(found.get("listening", "")),
        os_version=parse_os_version(found.get("os_version", "")),
        gpu_cores=parse_count(found.get("gpu_cores", "").rpartition("=")[2]),
        wired_limit_bytes=parse_count(found.get("wired_limit", "")) * MIB,
        gpus=gpus,
    )


def expanded(path: str, home: str) -> str:
    """A path of the profile on the host whose user's home folder is ``home``."""
    return home + path[1:] if path == "~" or path.startswith("~/") else path


def lock_of(facts: HostFacts) -> bytes:
    """The lock file whose packages a rank on this host runs with."""
    return _lock(facts.gpus)


def _lock(gpus: tuple[Gpu, ...]) -> bytes:
    return lock_text(cuda=card_of(gpus) is not None)


def _memory(found: Mapping[str, str]) -> Memory:
    if "meminfo" in found:
        return parse_meminfo(found["meminfo"])
    return parse_mac_memory(parse_count(found["memsize"]), found["vm_stat"], found.get("swap", ""))


def _addresses(found: Mapping[str, str]) -> tuple[NetworkAddress, ...]:
    if "addresses" in found:
        return parse_ip(found["addresses"], tuple(found["wireless"].split()))
    return parse_ifconfig(found["ifconfig"], found["ports"])


def _pythons(text: str, given: str, lock: bytes) -> tuple[PythonFound, ...]:
    answers: dict[str, Interpreter] = {}
    for line in text.splitlines():
        path, _, answer = line.partition("\t")
        if one := parse_probe(answer):
            answers[path or given] = one
    return found_pythons(answers, parse_lock(lock), given)
