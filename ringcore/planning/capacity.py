"""How much memory each rank may use, and where that figure comes from.

The strongest word counts: ``hosts.memory`` in the profile, ``RANK_MEMORY_MB_<rank>`` and then
``DEFAULT_RANK_MEMORY_MB`` in the environment (MiB), what the facts say: free memory of the card where a
rank computes on one with memory of its own, else of the host. Ranks on one machine share what is free
there. Knows nothing of models.
"""

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from ringcore.planning.machines import machines_of
from ringcore.spec.errors import PlanError
from ringcore.spec.facts import HostFacts
from ringcore.spec.profile import HostOptions, Profile
from ringcore.spec.units import GIB, MIB, format_bytes

RANK_VARIABLE = "RANK_MEMORY_MB_"
DEFAULT_VARIABLE = "DEFAULT_RANK_MEMORY_MB"
_MAX_MIB = 1 << 26  # 64 TiB
_MOST_RESERVED = 4 * GIB
_MOST_RESERVED_BY_HAND = 256 * MIB
_PART_BY_HAND = 16
_SMALL_MAC = 36 * GIB


class Room(Struct, frozen=True, kw_only=True):
    """One rank's memory. ``ceiling_source`` in words. ``mates``: ranks that share its memory, itself too."""

    rank: int
    host: str
    ceiling_bytes: int
    ceiling_source: str
    reserve_bytes: int
    mates: int = 1
    by_hand: bool = False

    @property
    def usable_bytes(self) -> int:
        return max(0, self.ceiling_bytes - self.reserve_bytes)


def rooms(
    profile: Profile,
    facts: Sequence[HostFacts],
    environment: Mapping[str, str],
    *,
    pools: Sequence[str] = (),
    among: Sequence[int] = (),
) -> tuple[Room, ...]:
    """One room a rank, in the order of ``facts``, or of those ``among`` them that are in the ring. ``pools``:
    whose memory each has (none given: the machine's). Raises `PlanError` naming a bad variable."""
    by_hand = [_by_hand(rank, host, environment) for rank, host in enumerate(profile.hosts)]
    pools = pools or machines_of(profile)
    among = among or range(len(profile.hosts))
    made: list[Room] = []
    for number, place in enumerate(among):
        said = by_hand[place]
        mates = [other for other in among if pools[other] == pools[place]]
        if said is not None:
            ceiling, source = said
            reserve = min(_MOST_RESERVED_BY_HAND, ceiling // _PART_BY_HAND)
        else:
            ceiling, source = _from_facts(facts[place], mates, facts, by_hand)
            reserve = _reserve(facts[place], ceiling)
        made.append(
            Room(
                rank=number,
                host=profile.hosts[place].name,
                ceiling_bytes=ceiling,
                ceiling_source=source,
                reserve_bytes=reserve,
                mates=len(mates),
                by_hand=said is not None,
            )
        )
    return tuple(made)


def ceiling_for(need: int) -> int:
    """The smallest ceiling set by hand that leaves ``need`` after the reserve."""
    return need + min(_MOST_RESERVED_BY_HAND, -(-need // (_PART_BY_HAND - 1)))


def over_free(facts: Sequence[HostFacts], pools: Sequence[str], made: Sequence[Room]) -> Iterator[str]:
    """A sentence for each pool of memory of which ceilings set by hand make more than is free now."""
    for pool in dict.fromkeys(pools):
        ranks = [rank for rank, other in enumerate(pools) if other == pool]
        promised = sum(made[rank].ceiling_bytes for rank in ranks if made[rank].by_hand)
        free = min(_free(facts[rank]) for rank in ranks)
        if promised > free:
            who = ", ".join(made[rank].host for rank in ranks if made[rank].by_hand)
            yield (
                f"note: {who}: ceilings set by hand make {format_bytes(promised)}, "
                f"but {format_bytes(free)} are free there now."
            )


def _by_hand(rank: int, host: HostOptions, environment: Mapping[str, str]) -> tuple[int, str] | None:
    if host.memory_bytes is not None:
        return host.memory_bytes, "memory in the profile"
    for variable in (f"{RANK_VARIABLE}{rank}", DEFAULT_VARIABLE):
        text = environment.get(variable, "").strip()
        if text:
            return _mebibytes(variable, text), f"{variable} in the environment"
    return None


def _mebibytes(variable: str, text: str) -> int:
    # isdecimal alone takes digits of every script
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:12]) <= _MAX_MIB):
        raise PlanError(
            f"{variable} is {text[:40]!r}, expected a whole number of MiB from 1 to {_MAX_MIB}",
            f"export {variable}=12288 for 12 GiB, or unset it",
        )
    return int(text) * MIB


def _from_facts(
    fact: HostFacts,
    mates: Sequence[int],
    facts: Sequence[HostFacts],
    by_hand: Sequence[tuple[int, str] | None],
) -> tuple[int, str]:
    """What is free, less what others on the machine were given by hand, in equal parts."""
    where = "of its GPU" if _card_memory(fact) else "of the host"
    if len(mates) == 1:
        return _free(fact), f"free memory {where}"
    free = min(_free(facts[mate]) for mate in mates)
    given = sum(said[0] for said in (by_hand[mate] for mate in mates) if said is not None)
    sharing = sum(by_hand[mate] is None for mate in mates)
    left = f"{format_bytes(free)} free"
    if given:
        left = f"{format_bytes(max(0, free - given))} that others leave of the {left}"
    source = f"1/{sharing} of the {left} on this machine" if sharing > 1 else f"the {left} on this machine"
    return max(0, free - given) // sharing, f"{source}, which {len(mates)} ranks share"


def _reserve(fact: HostFacts, ceiling: int) -> int:
    reserve = min(_MOST_RESERVED, ceiling // 10)
    if fact.os == "darwin":
        # The same part of a share as of the whole.
        share = ceiling / max(1, fact.available_memory_bytes)
        reserve = max(reserve, ceiling - int(working_set(fact) * share))
    return reserve


def working_set(fact: HostFacts) -> int:
    """What Metal lets the GPU of a Mac wire: as the operator set it, as Metal told, or as macOS does it at
    least. Past it macOS swaps."""
    if fact.wired_limit_bytes:
        return min(fact.wired_limit_bytes, fact.total_memory_bytes)
    if fact.measured and fact.measured.gpu_limit_bytes:
        return fact.measured.gpu_limit_bytes
    if fact.total_memory_bytes < _SMALL_MAC:
        return fact.total_memory_bytes * 2 // 3
    return fact.total_memory_bytes * 3 // 4


def _free(fact: HostFacts) -> int:
    return _card_memory(fact) or fact.available_memory_bytes


def _card_memory(fact: HostFacts) -> int:
    """Free memory of the card that a rank computes on; 0 where that is the host's own."""
    return fact.cuda.free_memory_bytes if fact.cuda and fact.cuda.total_memory_bytes else 0
