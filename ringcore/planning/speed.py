"""How fast ranks read memory: decoding one token reads every weight of a rank once, so that decides.

Figures are what decoding reaches, in bytes a second. Where no figure is known one is assumed, and the words
say so: ratios between hosts then still count, times are rough.
"""

import re
from collections.abc import Mapping, Sequence

from msgspec import Struct

from ringcore.spec.facts import HostFacts

# GB/s from Apple's technical specifications; of chips sold in two sizes the smaller.
_BANDWIDTH: Mapping[str, float] = {
    "M1": 68, "M1 Pro": 200, "M1 Max": 400, "M1 Ultra": 800,
    "M2": 100, "M2 Pro": 200, "M2 Max": 400, "M2 Ultra": 800,
    "M3": 100, "M3 Pro": 150, "M3 Max": 300, "M3 Ultra": 819,
    "M4": 120, "M4 Pro": 273, "M4 Max": 410,
    "M5": 153,
}  # fmt: skip
_CHIP = re.compile(r"Apple (M[0-9]+(?: (?:Pro|Max|Ultra))?)")
_GB = 1e9
_REACHED = 0.85  # of a chip's nominal bandwidth by reading weights
_ASSUMED = 20 * _GB  # two channels of DDR4
_ASSUMED_PER_CORE = 5 * _GB


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
    chips = [_of_chip(fact.chip) for fact in facts]
    known = [speed for speed in chips if speed is not None]
    one_chip = len({fact.chip for fact in facts}) == 1
    if len(known) == len(facts):
        same = "all hosts count as equally fast: they have the same chip"
        return known, same if one_chip else "hosts count as fast as their chips read memory"
    if one_chip:
        return [_assumed(_ASSUMED)] * len(facts), (
            "all hosts count as equally fast: they have the same chip, of which no bandwidth is known"
        )
    if all(fact.cores > 0 for fact in facts):
        return [_assumed(fact.cores * _ASSUMED_PER_CORE) for fact in facts], (
            "chips differ, nothing is measured: speed counts by cores"
        )
    return [_assumed(_ASSUMED)] * len(facts), "all hosts count as equally fast: nothing is known of them"


def _of_chip(chip: str) -> ReadSpeed | None:
    found = _CHIP.search(chip)
    nominal = _BANDWIDTH.get(found[1], 0.0) if found else 0.0
    if not found or not nominal:
        return None
    source = f"{_REACHED:.0%} of the {nominal:.0f} GB/s of an {found[0]}"
    return ReadSpeed(bytes_per_second=_REACHED * nominal * _GB, source=source)


def _assumed(bytes_per_second: float) -> ReadSpeed:
    source = f"{bytes_per_second / _GB:.0f} GB/s assumed, nothing is known"
    return ReadSpeed(bytes_per_second=bytes_per_second, source=source, assumed=True)


def _part(speed: ReadSpeed, ranks: int) -> ReadSpeed:
    if ranks == 1:
        return speed
    return ReadSpeed(
        bytes_per_second=speed.bytes_per_second / ranks,
        source=f"1/{ranks} of: {speed.source}",
        assumed=speed.assumed,
    )
