"""How fast ranks read weights compared with each other, before anything was measured.

Decoding one token reads every weight once, so memory bandwidth decides. Only ratios count.
"""

import re
from collections.abc import Mapping, Sequence

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


def speeds(facts: Sequence[HostFacts], mates: Sequence[int]) -> tuple[tuple[float, ...], str]:
    """One figure a rank, and in words where they come from. ``mates``: ranks on each rank's machine."""
    figures, why = _of_hosts(facts)
    if len(set(mates)) > 1:
        why += "; ranks on one machine share its speed"
    return tuple(figure / count for figure, count in zip(figures, mates, strict=True)), why


def _of_hosts(facts: Sequence[HostFacts]) -> tuple[list[float], str]:
    if len({fact.chip for fact in facts}) == 1:
        return [1.0] * len(facts), "all hosts count as equally fast: they have the same chip"
    known = [_bandwidth(fact.chip) for fact in facts]
    if all(known):
        return known, "hosts count as fast as their chips read memory"
    cores = [fact.cores for fact in facts]
    if all(core > 0 for core in cores):
        return [float(core) for core in cores], "chips differ, nothing is measured: speed counts by cores"
    return [1.0] * len(facts), "all hosts count as equally fast: nothing is known of them"


def _bandwidth(chip: str) -> float:
    found = _CHIP.search(chip)
    return _BANDWIDTH.get(found[1], 0.0) if found else 0.0
