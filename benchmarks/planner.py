"""What the planner decides for mixed Macs beside other splits, how long it takes, how often it is right.

    python -m benchmarks.planner --out benchmarks/planner.json --page docs/planner.md

Starts nothing and loads no weights. ``--page`` writes the tables between the page's two marks.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from benchmarks.planner_cards import deepseek_coder_v2_lite, llama_70b
from benchmarks.planner_optimum import rates
from ringcore.planning.evaluate import Evaluation, evaluate
from ringcore.planning.naive import by_free_memory, even
from ringcore.planning.plan import make_plan
from ringcore.spec.card import LayerCard, ModelCard
from ringcore.spec.facts import HostFacts, NetworkAddress
from ringcore.spec.plan import Plan
from ringcore.spec.profile import HostOptions, Objective, Profile, RingOptions
from ringcore.spec.profile_file import load_profile
from ringcore.spec.units import GIB, MIB, format_bytes

PROFILE = Path(__file__).parent.parent / "profiles" / "mixed-macs.toml"
FIRST, LAST = "<!-- figures: written by benchmarks/planner.py -->", "<!-- end of figures -->"
OBJECTIVES: tuple[Objective, ...] = ("throughput", "latency", "memory")
_ROUNDS = 7


def mac(host: HostOptions, chip: str, cores: int, total: int, available: int) -> HostFacts:
    """A Mac of these sizes as `mlxring check` tells of one, on a Thunderbolt cable."""
    return HostFacts(
        host=host.name,
        os="darwin",
        arch="arm64",
        user="operator",
        home="/Users/operator",
        shell="/bin/zsh",
        cores=cores,
        total_memory_bytes=total * GIB,
        available_memory_bytes=available * GIB,
        disk_free_bytes=500 * GIB,
        chip=chip,
        addresses=(NetworkAddress("bridge0", host.address, "thunderbolt"),),
    )


def mixed_macs() -> tuple[Profile, list[HostFacts]]:
    profile = load_profile(PROFILE)
    studio, *minis = profile.hosts
    return profile, [
        mac(studio, "Apple M2 Ultra", 24, 192, 180),
        *(mac(mini, "Apple M4", 10, 16, 12) for mini in minis),
    ]


def splits(card: ModelCard, context: int) -> list[dict[str, Any]]:
    """One row a way to split: layers by host, who would be over, expected tokens a second."""
    profile, facts = mixed_macs()
    rows: list[dict[str, Any]] = []
    plan: Plan | None = None
    for objective in OBJECTIVES:
        ring = structs.replace(profile.ring, objective=objective, context=context)
        made = make_plan(card, structs.replace(profile, ring=ring), facts, {})
        counts = [stage.shard.count for stage in made.stages]
        rows.append(_row(f"mlxring, {objective}", made, evaluate(made, counts)))
        plan = made if objective == "throughput" else plan
    assert plan is not None
    total, free = len(card.layers), [stage.ceiling_bytes for stage in plan.stages]
    rows.append(_row("equal numbers of layers", plan, evaluate(plan, even(total, len(free)))))
    rows.append(_row("by free memory alone", plan, evaluate(plan, by_free_memory(total, free))))
    return rows


def _row(name: str, plan: Plan, found: Evaluation) -> dict[str, Any]:
    return {
        "split": name,
        "layers": {stage.host: stage.shard.count for stage in found.stages},
        "free_bytes": {stage.host: stage.free_bytes for stage in found.stages},
        "alone": found.rates.alone if found.fits else None,
        "together": found.rates.together if found.fits else None,
        "sequences": plan.sequences,
        "step_milliseconds": found.rates.step_seconds * 1000,
    }


def times() -> list[dict[str, Any]]:
    """Milliseconds of a processor for whole plans, explanations with them; medians."""
    rows = [_timed(256, 64, objective, arrange=False) for objective in (*OBJECTIVES, "equal")]
    return [*rows, *(_timed(80, 8, objective, arrange=True) for objective in OBJECTIVES)]


def _timed(layers: int, hosts: int, objective: Objective, *, arrange: bool) -> dict[str, Any]:
    card = ModelCard(
        name="model",
        architecture="llama",
        layers=tuple(LayerCard((90 + n % 7) * MIB, 4096) for n in range(layers)),
        hidden_size=4096,
        vocab_size=128256,
        embedding_bytes=500 * MIB,
        norm_bytes=8192,
        head_bytes=500 * MIB,
        tied=False,
        dtype="bfloat16",
        attention_heads=32,
        mlp_width=14336,
    )
    options = tuple(HostOptions(name=f"h{n}", ssh=f"h{n}", address=f"10.0.0.{n + 1}") for n in range(hosts))
    ring = RingOptions(objective=objective, arrange=arrange, prefill_chunk=256)
    profile = Profile(name="p", model="/m", hosts=options, ring=ring)
    chips = ("Apple M1", "Apple M2 Max", "Apple M4")
    facts = [mac(host, chips[n % 3], 8, 24 + 8 * (n % 3), 20 + 8 * (n % 3)) for n, host in enumerate(options)]
    took = _measured(lambda: make_plan(card, profile, facts, {}))
    name = f"{layers} layers, {hosts} hosts, {objective}" + (", best order" if arrange else "")
    return {"plan": name, "milliseconds": statistics.median(took), "slowest": max(took)}


def _measured(act: Callable[[], object]) -> list[float]:
    took: list[float] = []
    for _ in range(_ROUNDS):
        began = time.process_time()
        act()
        took.append((time.process_time() - began) * 1000)
    return took


def page(found: dict[str, Any]) -> str:
    """The tables, as Markdown."""
    parts: list[str] = []
    for model in found["models"]:
        parts += [f"### {model['model']}, context {model['context']}", "", model["weights"], ""]
        parts += _table(
            (
                "split",
                "layers: studio, mini1, mini2",
                "over its memory",
                "tokens/s alone",
                "together",
                "step",
            ),
            [_cells(row) for row in model["splits"]],
        )
    parts += ["### Time to plan", ""]
    parts += _table(
        ("plan", "median, ms", "slowest, ms"),
        [(row["plan"], f"{row['milliseconds']:.0f}", f"{row['slowest']:.0f}") for row in found["times"]],
    )
    parts += ["### Optimum", ""]
    parts += _table(
        ("search", "clusters", "of them something fits", "optimum found"),
        [
            (name, str(row["clusters"]), str(row["fit"]), f"{row['optimal'] / row['clusters']:.2%}")
            for name, row in found["optimum"].items()
        ],
    )
    return "\n".join(parts).rstrip()


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    layers = ", ".join(str(row["layers"].get(host, "-")) for host in ("studio", "mini1", "mini2"))
    over = [f"{host} by {format_bytes(-free)}" for host, free in row["free_bytes"].items() if free < 0]
    fits = row["alone"] is not None
    return (
        row["split"],
        layers,
        ", ".join(over) or "nobody",
        f"{row['alone']:.1f}" if fits else "does not run",
        f"{row['together']:.1f} of {row['sequences']}" if fits else "does not run",
        f"{row['step_milliseconds']:.1f} ms" if fits else "-",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [*("| " + " | ".join(line) + " |" for line in lines), ""]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("planner.json"), help="the JSON file (planner.json)")
    parser.add_argument("--page", type=Path, help="a page with the marks between which tables are written")
    parser.add_argument("--clusters", type=int, default=5000, help="random clusters for each search (5000)")
    asked = parser.parse_args()
    models: list[dict[str, Any]] = []
    for card in (deepseek_coder_v2_lite(), llama_70b()):
        for context in (4096, 16384):
            weights = (
                sum(layer.weight_bytes for layer in card.layers) + card.embedding_bytes + card.head_bytes
            )
            kept = sum(layer.kv_bytes_per_token for layer in card.layers)
            models.append(
                {
                    "model": card.name,
                    "context": context,
                    "weights": f"{format_bytes(weights)} of weights, {format_bytes(kept)} of KV a token.",
                    "splits": splits(card, context),
                }
            )
    found = {"models": models, "times": times(), "optimum": rates(asked.clusters, seed=1)}
    _write(asked.out, json.dumps(found, indent=1) + "\n")
    if asked.page:
        before, _, rest = asked.page.read_text().partition(FIRST)
        _write(asked.page, f"{before}{FIRST}\n\n{page(found)}\n\n{LAST}{rest.partition(LAST)[2]}")
    print(page(found))


def _write(path: Path, text: str) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


if __name__ == "__main__":
    main()
