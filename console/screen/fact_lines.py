"""A host's facts as lines to read: name and value. Pure."""

import time

from ringcore.spec.facts import HostFacts, PythonFound
from ringcore.spec.units import format_bytes

_SKEW_SECONDS = 2.0  # below it, clocks agree as far as anyone would notice


def fact_lines(facts: HostFacts | None) -> list[tuple[str, str]]:
    """What is not known is left out."""
    if facts is None:
        return []
    return [
        ("system", _system(facts)),
        ("memory", _memory(facts)),
        ("swap", _swap(facts)),
        ("GPU", _gpus(facts)),
        ("speed", _measured(facts)),
        ("disk", f"{format_bytes(facts.disk_free_bytes)} free"),
        ("user", f"{facts.user}, home {facts.home}, shell {facts.shell}"),
        ("pythons", "\n           ".join(_python(each) for each in facts.pythons) or "none found"),
        ("uv", facts.uv),
        ("addresses", ", ".join(f"{a.address} ({_link(a.interface, a.kind)})" for a in facts.addresses)),
        ("clock", _skew(facts.clock_skew_seconds)),
        ("rings", ", ".join(facts.rings)),
    ]


def _system(facts: HostFacts) -> str:
    system = f"{facts.os} {facts.os_version}".rstrip()
    return f"{system} {facts.arch}, {facts.chip or 'unknown chip'}, {facts.cores} cores"


def _memory(facts: HostFacts) -> str:
    free = f"{format_bytes(facts.available_memory_bytes)} free of {format_bytes(facts.total_memory_bytes)}"
    if facts.reclaimable_memory_bytes:
        free += f", {format_bytes(facts.reclaimable_memory_bytes)} of it given up on demand"
    if facts.wired_limit_bytes:
        free += f"; the GPU may wire {format_bytes(facts.wired_limit_bytes)}"
    return free


def _swap(facts: HostFacts) -> str:
    if not facts.swap_used_bytes:
        return ""
    return f"{format_bytes(facts.swap_used_bytes)} of {format_bytes(facts.swap_bytes)} used"


def _gpus(facts: HostFacts) -> str:
    if facts.gpu_cores:
        return f"{facts.gpu_cores} cores"
    return ", ".join(
        f"{gpu.name} ({format_bytes(gpu.free_memory_bytes)} free of {format_bytes(gpu.total_memory_bytes)})"
        for gpu in facts.gpus
    )


def _measured(facts: HostFacts) -> str:
    if facts.measured is None:
        return ""
    when = time.strftime("%Y-%m-%d", time.localtime(facts.measured.when))
    return f"{facts.measured.bandwidth:.0f} GB/s measured on {when} ({facts.measured.computes_with})"


def _link(interface: str, kind: str) -> str:
    return f"{interface}, {kind}" if kind else interface


def _python(found: PythonFound) -> str:
    version = ".".join(map(str, found.version))
    notes = ["no venv"] * (not found.has_venv) + ["has every package"] * found.has_lock
    return f"{found.path} {version}" + (f" ({', '.join(notes)})" if notes else "")


def _skew(seconds: float) -> str:
    if abs(seconds) < _SKEW_SECONDS:
        return ""
    return f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine"
