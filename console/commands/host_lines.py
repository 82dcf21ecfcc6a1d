"""One host's facts in a few lines for a person: system, memory, what it computes with, and how fast. Pure."""

from collections.abc import Iterator

from console.logs.text import safe_line
from ringcore.planning.bandwidth import chip_of
from ringcore.planning.capacity import working_set
from ringcore.spec.facts import HostFacts, Measured
from ringcore.spec.units import format_bytes

_HOUR, _DAY = 3600, 86400
_OLD_DAYS = 90


def host_lines(facts: HostFacts, now: float, just_measured: Measured | None = None) -> list[str]:
    """``now`` in seconds since the Unix epoch. ``just_measured`` is told even where it does not count."""
    return [safe_line(line) for line in _lines(facts, now, just_measured)]


def _lines(facts: HostFacts, now: float, just_measured: Measured | None) -> Iterator[str]:
    python = facts.pythons[0].path if facts.pythons else "no python"
    system = " ".join(part for part in (facts.os_version or facts.os, facts.arch) if part)
    yield f"{system}  {facts.cores} cores  disk {format_bytes(facts.disk_free_bytes)}  {python}"
    free, total = facts.available_memory_bytes, facts.total_memory_bytes
    memory = f"memory {format_bytes(free)} of {format_bytes(total)} free"
    if facts.reclaimable_memory_bytes:
        memory += f", {format_bytes(facts.reclaimable_memory_bytes)} of it held by caches"
    if facts.swap_used_bytes:
        memory += f"; swap {format_bytes(facts.swap_used_bytes)} of {format_bytes(facts.swap_bytes)} used"
    yield memory
    yield f"computes with {_chip(facts)}"
    yield _speed(facts, now, just_measured)


def _chip(facts: HostFacts) -> str:
    if facts.cuda is not None:
        card, more = facts.cuda, len(facts.gpus) - 1
        own = format_bytes(card.free_memory_bytes) + " of " + format_bytes(card.total_memory_bytes) + " free"
        text = f"{card.name}, {own if card.total_memory_bytes else 'memory of the host'}"
        return text + (f" (and {more} more card{'s' if more > 1 else ''})" if more else "")
    if facts.os == "darwin":
        cores = f", {facts.gpu_cores} GPU cores" if facts.gpu_cores else ""
        source = "iogpu.wired_limit_mb" if facts.wired_limit_bytes else "by default"
        return f"{facts.chip}{cores}, its GPU may hold {format_bytes(working_set(facts))} ({source})"
    unused = f"; {facts.gpus[0].name} is too old, or its driver is" if facts.gpus else ""
    return (facts.chip or "a processor that does not say its name") + unused


def _speed(facts: HostFacts, now: float, just_measured: Measured | None) -> str:
    found = just_measured or facts.measured
    if found is None:
        chip = chip_of(facts)
        if not chip.bandwidth:
            return "speed not known: `mlxring check --measure` measures it"
        return f"reads {chip.bandwidth:.0f} GB/s, computes {chip.compute:.0f} TFLOPS by its maker's figures"
    compute = f", computes {found.compute:.2f} TFLOPS" if found.compute else ""
    text = (
        f"reads {found.bandwidth:.1f} GB/s{compute} ({found.computes_with}), measured {age(now - found.when)}"
    )
    if just_measured is not None and facts.measured != just_measured:
        return f"{text}; not what ranks will compute with there, so it does not count: provision first"
    return text


def age(seconds: float) -> str:
    """``just now``, ``5 hours ago``, ``120 days ago: measure again``."""
    if seconds < _HOUR:
        return "just now"
    if seconds < 2 * _DAY:
        return f"{seconds / _HOUR:.0f} hours ago"
    days = seconds / _DAY
    return f"{days:.0f} days ago" + (": measure again" if days > _OLD_DAYS else "")
