"""A host's facts as lines to read: name and value. Pure."""

from ringcore.spec.facts import HostFacts, PythonFound
from ringcore.spec.units import format_bytes

_SKEW_SECONDS = 2.0  # below it, clocks agree as far as anyone would notice


def fact_lines(facts: HostFacts | None) -> list[tuple[str, str]]:
    """What is not known is left out."""
    if facts is None:
        return []
    chip = facts.chip or "unknown chip"
    return [
        ("system", f"{facts.os} {facts.arch}, {chip}, {facts.cores} cores"),
        ("memory", f"{_size(facts.available_memory_bytes)} free of {_size(facts.total_memory_bytes)}"),
        ("disk", f"{_size(facts.disk_free_bytes)} free"),
        ("user", f"{facts.user}, home {facts.home}, shell {facts.shell}"),
        ("pythons", "\n           ".join(_python(each) for each in facts.pythons) or "none found"),
        ("uv", facts.uv),
        ("addresses", ", ".join(f"{a.address} ({_link(a.interface, a.kind)})" for a in facts.addresses)),
        ("clock", _skew(facts.clock_skew_seconds)),
        ("rings", ", ".join(facts.rings)),
    ]


def _size(size: int) -> str:
    return format_bytes(size)


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
