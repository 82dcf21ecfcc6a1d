"""How fast ranks read memory: decoding one token reads every weight of a rank once, so that decides.

Figures are what decoding reaches, in bytes a second. Where no figure is known one is assumed, and the words
say so: ratios between hosts then still count, times are rough.
"""

from collections.abc import Sequence

from msgspec import Struct

from ringcore.planning.bandwidth import GB, Bandwidth, bandwidth_of
from ringcore.spec.facts import HostFacts

_ASSUMED = 20 * GB  # two channels of DDR4
_ASSUMED_PER_CORE = 5 * GB


class ReadSpeed(Struct, frozen=True, kw_only=True):
    """``source`` in words. ``assumed``: nothing is known of this host."""

    bytes_per_second: float
    source: str
    assumed: bool = False


def speeds(facts: Sequence[HostFacts], mates: Sequence[int]) -> tuple[tuple[ReadSpeed, ...], str]:
    """One speed a rank, and in words how hosts compare. ``mates``: ranks on each rank's machine."""
    found, why = _of_hosts(facts)
    if len(set(mates)) > 1:
        why += "; ranks on one machine share its speed"
    return tuple(_part(speed, count) for speed, count in zip(found, mates, strict=True)), why


def _of_hosts(facts: Sequence[HostFacts]) -> tuple[list[ReadSpeed], str]:
    found = [bandwidth_of(fact) for fact in facts]
    known = [each for each in found if each is not None]
    names = {(fact.chip, fact.cuda.name if fact.cuda else "", fact.gpu_cores) for fact in facts}
    if len(known) == len(facts):
        return [_known(each) for each in known], _compared(facts, known, one_chip=len(names) == 1)
    if len(names) == 1:
        return [_assumed(_ASSUMED)] * len(facts), (
            "all hosts count as equally fast: they have the same chip, of which no bandwidth is known"
        )
    if all(fact.cores > 0 for fact in facts):
        return [_assumed(fact.cores * _ASSUMED_PER_CORE) for fact in facts], (
            "chips differ, not all are measured: speed counts by cores (`mlxring check --measure` measures)"
        )
    return [_assumed(_ASSUMED)] * len(facts), "all hosts count as equally fast: nothing is known of them"


def _compared(facts: Sequence[HostFacts], known: Sequence[Bandwidth], *, one_chip: bool) -> str:
    if any(each.measured for each in known):
        told = [f"{fact.host} {each.source}" for fact, each in zip(facts, known, strict=True)]
        return f"hosts count as fast as they read memory: {', '.join(told)}"
    if one_chip:
        return "all hosts count as equally fast: they have the same chip"
    return "hosts count as fast as their chips read memory"


def _known(found: Bandwidth) -> ReadSpeed:
    return ReadSpeed(bytes_per_second=found.gigabytes * GB, source=found.source)


def _assumed(bytes_per_second: float) -> ReadSpeed:
    source = f"{bytes_per_second / GB:.0f} GB/s assumed, nothing is known"
    return ReadSpeed(bytes_per_second=bytes_per_second, source=source, assumed=True)


def _part(speed: ReadSpeed, ranks: int) -> ReadSpeed:
    if ranks == 1:
        return speed
    return ReadSpeed(
        bytes_per_second=speed.bytes_per_second / ranks,
        source=f"1/{ranks} of: {speed.source}",
        assumed=speed.assumed,
    )
