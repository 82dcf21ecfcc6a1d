"""How fast one host reads memory, where that is known: as it was measured, else as its chip's maker says."""

import time

from msgspec import Struct

from ringcore.planning import chips
from ringcore.planning.chips import Chip
from ringcore.spec.facts import HostFacts

GB = 1e9
REACHED = 0.85  # of a chip's nominal bandwidth by reading weights


class Bandwidth(Struct, frozen=True, kw_only=True):
    """``gigabytes`` a second (1e9) are what reading weights reaches; ``source`` in words."""

    gigabytes: float
    source: str
    measured: bool = False


def bandwidth_of(fact: HostFacts) -> Bandwidth | None:
    """None for a host that was not measured and whose chip is in no table (a CPU under Linux)."""
    if fact.measured is not None:
        day = time.strftime("%Y-%m-%d", time.gmtime(fact.measured.when))
        source = f"{fact.measured.bandwidth:.0f} GB/s measured on {day}"
        return Bandwidth(gigabytes=fact.measured.bandwidth, source=source, measured=True)
    nominal = chip_of(fact).bandwidth
    if not nominal:
        return None
    source = f"{REACHED:.0%} of the {nominal:.0f} GB/s of an {fact.cuda.name if fact.cuda else fact.chip}"
    return Bandwidth(gigabytes=REACHED * nominal, source=source)


def chip_of(fact: HostFacts) -> Chip:
    """What a rank on this host computes with, by its maker's figures; zeros for a CPU under Linux."""
    if fact.cuda is not None:
        return chips.nvidia(fact.cuda.name)
    return chips.apple(fact.chip, gpu_cores=fact.gpu_cores, cores=fact.cores)
