"""What `benchmarks.prefix` found, as values: the schema of its JSON file, and the tables of it. Pure."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from benchmarks.results import Machine
from console.bench.statistics import Spread, spread

OFF = "off"  # the contender that keeps nothing
AIMS: Mapping[str, float] = {"from memory": 0.10, "from disk": 0.25}  # of cold, at most
COST_AIM = 0.02  # of the prompt's time, at most


class Settings(Struct, frozen=True, kw_only=True):
    """``layers`` of each rank, rank 0 first; ``moved`` those after the layers were moved."""

    model: str
    about: str
    computes_with: str
    ranks: int
    layers: tuple[int, ...]
    moved: tuple[int, ...]
    repeat: int
    prompt_tokens: int
    seen_tokens: int
    block_tokens: int
    context: int
    sequences: int
    memory: str
    disk: str
    started: str


class Seen(Struct, frozen=True, kw_only=True):
    """Seconds to the first token of prompts whose beginning was seen, each beside one that nobody has seen,
    asked a moment before. ``cached_tokens`` of each were not computed. ``share``: of cold, pair by pair."""

    name: str
    seconds: tuple[float, ...]
    cold: tuple[float, ...]
    cached_tokens: tuple[int, ...]
    over_seconds: Spread
    over_cold: Spread
    share: Spread
    aim: float | None = None


class Stored(Struct, frozen=True, kw_only=True):
    """Bytes that all hosts together take for ``tokens``, and those of their keys, values and states alone."""

    where: str
    tokens: int
    bytes: int
    least_bytes: int

    @property
    def more(self) -> float:
        """Share above the least there can be."""
        return self.bytes / self.least_bytes - 1 if self.least_bytes else 0.0


class Cost(Struct, frozen=True, kw_only=True):
    """What a prompt that nobody has seen takes, by contender, in the order of the rounds. ``more``: than
    without a cache, round by round, as a share."""

    name: str
    unit: str
    values: Mapping[str, tuple[float, ...]]
    spreads: Mapping[str, Spread]
    more: Mapping[str, Spread]


class Found(Struct, frozen=True, kw_only=True):
    machine: Machine
    versions: Mapping[str, str]
    commit: str
    settings: Settings
    seen: tuple[Seen, ...]
    stored: tuple[Stored, ...]
    costs: tuple[Cost, ...]


def seen(name: str, pairs: Sequence[tuple[float, float]], cached: Sequence[int]) -> Seen:
    """``pairs``: seconds of a prompt that nobody has seen, then of one whose beginning was."""
    cold, seconds = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return Seen(
        name=name,
        seconds=tuple(seconds),
        cold=tuple(cold),
        cached_tokens=tuple(cached),
        over_seconds=spread(seconds),
        over_cold=spread(cold),
        share=spread([warm / first for first, warm in pairs]),
        aim=next((aim for kind, aim in AIMS.items() if name.startswith(kind)), None),
    )


def cost(name: str, unit: str, values: Mapping[str, Sequence[float]]) -> Cost:
    """``values`` of every contender have as many rounds, those of `OFF` among them."""
    return Cost(
        name=name,
        unit=unit,
        values={who: tuple(found) for who, found in values.items()},
        spreads={who: spread(list(found)) for who, found in values.items()},
        more={
            who: spread([one / bare - 1 for one, bare in zip(found, values[OFF], strict=True)])
            for who, found in values.items()
            if who != OFF
        },
    )


def table(found: Found) -> str:
    """For a person: medians with lowest and highest."""
    asked, machine = found.settings, found.machine
    lines = [
        f"{asked.model}: {asked.about}; {asked.computes_with}",
        f"{asked.ranks} ranks of {list(asked.layers)} layers, then {list(asked.moved)}, on cores "
        f"{list(machine.cores)} of {machine.processor}, load average {machine.load_before:.1f} before and "
        f"{machine.load_after:.1f} after, {asked.repeat} rounds, commit {found.commit[:12]}",
        "",
        f"seconds to the first token of a prompt of {asked.prompt_tokens} tokens, "
        f"{asked.seen_tokens} of them seen before, in blocks of {asked.block_tokens}",
    ]
    for each in found.seen:
        aim = f", aim {each.aim:.2f}" if each.aim is not None else ""
        lines.append(
            f"  {each.name:<34} {_ends(each.over_seconds)}   cold {_ends(each.over_cold)}   "
            f"of cold {_ends(each.share)}{aim}; {_tokens(each.cached_tokens)} tokens not computed"
        )
    lines += ["", "bytes a token, all hosts together"]
    for each in found.stored:
        lines.append(
            f"  in {each.where:<31} {each.bytes / each.tokens:,.0f}, "
            f"{100 * each.more:+.2f} % beside keys and values ({each.tokens:,} tokens)"
        )
    lines += [
        "",
        f"a prompt of {asked.prompt_tokens} tokens that nobody has seen, aim below {COST_AIM:.0%} more",
    ]
    for each in found.costs:
        for who, over in each.spreads.items():
            more = each.more.get(who)
            beside = f"   {_percent(more)} beside none" if more else ""
            lines.append(f"  {each.name}, {who:<20} {_ends(over)} {each.unit}{beside}")
    return "\n".join(lines)


def _ends(over: Spread) -> str:
    return f"{over.median:.3f} ({over.low:.3f} .. {over.high:.3f})"


def _percent(over: Spread) -> str:
    return f"{100 * over.median:+.1f} % ({100 * over.low:+.1f} .. {100 * over.high:+.1f})"


def _tokens(cached: Sequence[int]) -> str:
    low, high = min(cached, default=0), max(cached, default=0)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
