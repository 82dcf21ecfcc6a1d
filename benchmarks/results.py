"""What a comparison found, as values: the schema of its JSON file, and the table of it. Pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from console.bench.statistics import Spread, spread

OURS, CEILING = "ring", "side by side"


class Machine(Struct, frozen=True, kw_only=True):
    """``load_before``: the load average when it began; ``cores``: those that contenders ran on."""

    system: str
    processor: str
    cores: tuple[int, ...]
    cores_there: int
    client_cores: tuple[int, ...]
    memory_bytes: int
    load_before: float
    load_after: float


class Settings(Struct, frozen=True, kw_only=True):
    ranks: int
    layers: tuple[int, ...]  # of each rank by hand; (): as planned
    repeat: int
    tokens: int
    prompt_tokens: int
    prefill_tokens: int
    late_tokens: int
    at_once: tuple[int, ...]
    idle_seconds: float
    sequences: int
    context: int
    compute_threads_a_process: int
    started: str


class Measure(Struct, frozen=True, kw_only=True):
    """One thing measured for every contender that can do it; ``values`` in the order of the rounds.

    ``ratios``: ours over theirs in what is better, so above 1 the ring is ahead, whatever the unit.
    """

    name: str
    unit: str
    more_is_better: bool
    values: Mapping[str, tuple[float, ...]]
    spreads: Mapping[str, Spread]
    ratios: Mapping[str, float]


class ModelFound(Struct, frozen=True, kw_only=True):
    """``computes_with``: device and BLAS of each contender's processes, as they themselves found."""

    model: str
    about: str
    computes_with: Mapping[str, str]
    measures: tuple[Measure, ...]


class Comparison(Struct, frozen=True, kw_only=True):
    machine: Machine
    versions: Mapping[str, str]
    commit: str
    settings: Settings
    models: tuple[ModelFound, ...]


def measure(
    name: str, unit: str, values: Mapping[str, Sequence[float]], *, more_is_better: bool = True
) -> Measure:
    """With medians, spreads and the ratios of medians."""
    spreads = {who: spread(list(found)) for who, found in values.items()}
    ours = spreads[OURS].median if OURS in spreads else 0.0
    ratios = {
        who: ours / other.median if more_is_better else other.median / ours
        for who, other in spreads.items()
        if who != OURS and ours and other.median
    }
    return Measure(
        name=name,
        unit=unit,
        more_is_better=more_is_better,
        values={who: tuple(found) for who, found in values.items()},
        spreads=spreads,
        ratios=ratios,
    )


def write(found: Struct, path: Path) -> None:
    """Whole or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
    scratch.rename(path)


def read(path: Path) -> Comparison:
    """Raises ``msgspec.ValidationError`` when the file is of another shape."""
    return msgspec.json.decode(path.read_bytes(), type=Comparison)


def table(comparison: Comparison) -> str:
    """For a person: medians with lowest and highest, and ours over each of the others."""
    settings, machine = comparison.settings, comparison.machine
    lines = [
        f"{settings.ranks} ranks on cores {list(machine.cores)} of {machine.processor}, "
        f"{settings.repeat} rounds, one compute thread a process, commit {comparison.commit[:12]}"
    ]
    for found in comparison.models:
        lines += ["", f"{found.model}: {found.about}"]
        lines += [f"  {who} computes with {what}" for who, what in found.computes_with.items()]
        if len(set(found.computes_with.values())) > 1:
            lines.append("  NOT THE SAME ARITHMETIC: what follows compares that, too")
        for each in found.measures:
            lines += [f"  {each.name}, {each.unit}"]
            for who, over in each.spreads.items():
                ratio = f"   ring / this {each.ratios[who]:.2f}" if who in each.ratios else ""
                ends = f"({_short(over.low)} .. {_short(over.high)})"
                lines.append(f"    {who:<20} {_short(over.median):>9} {ends:<20}{ratio}".rstrip())
    lines += ["", "ring / this: above 1 the ring is ahead, also where less is better"]
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.1f}"
