"""Our ring against mlx-lm, on the same weights, dtype, BLAS and cores: ``python -m benchmarks.compare``.

Owns the order of the rounds (A B C A B C ...) and what is asked in each; how a contender works is
`contenders`, what times say is `tasks`. See README.md beside it for what is fair here and what is not.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, results
from benchmarks.contenders import Contender, Ours, Reference
from benchmarks.models import MODELS
from benchmarks.plan import Measured, arguments_of, measures_of, sizes_of
from benchmarks.running import make_model, progress, run, to_its_end
from benchmarks.tasks import Task, figure
from console.bench.prompts import Prompts


async def compare(asked: argparse.Namespace) -> results.Comparison:
    """Everything that it starts has ended when it returns, raises or is cancelled."""
    load_before, started = machine.load(), datetime.now(UTC).isoformat(timespec="seconds")
    cores, client = machine.choose_cores(asked.ranks)
    if load_before > 0.3:
        progress(f"load average {load_before:.1f}: others use this machine, so the figures are noise")
    machine.stay_on(client)
    sequences, context = sizes_of(asked)
    found: list[results.ModelFound] = []
    with tempfile.TemporaryDirectory(prefix="mlxring-compare-") as scratch:
        folder = Path(scratch)
        for name in asked.models.split(","):
            progress(f"{name}: making the model")
            await make_model(name, folder, cores)
            contenders = _contenders(name, folder, asked, cores, sequences, context)
            found.append(await _one_model(name, contenders, asked))
    return results.Comparison(
        machine=machine.describe(cores, client, load_before),
        versions=machine.versions(),
        commit=machine.commit(),
        settings=results.Settings(
            ranks=asked.ranks,
            layers=asked.layers,
            repeat=asked.repeat,
            tokens=asked.tokens,
            prompt_tokens=asked.prompt_tokens,
            prefill_tokens=asked.prefill_tokens,
            late_tokens=asked.late_tokens,
            at_once=asked.at_once,
            idle_seconds=asked.idle_seconds,
            sequences=sequences,
            context=context,
            compute_threads_a_process=1,
            started=started,
        ),
        models=tuple(found),
    )


def _contenders(
    name: str, folder: Path, asked: argparse.Namespace, cores: Sequence[int], sequences: int, context: int
) -> list[Contender]:
    model, own = folder / "models" / name, folder / name
    made: list[Contender] = [
        Ours(
            model,
            own / "ring",
            ranks=asked.ranks,
            layers=asked.layers,
            sequences=sequences,
            context=context,
            cores=cores,
        ),
        Reference("mlx-lm", model, own / "one", processes=1, pipeline=False, cores=cores),
    ]
    if asked.ranks > 1:
        if MODELS[name].pipelines:
            joined = own / "pipeline"
            made.append(
                Reference(
                    "mlx-lm --pipeline", model, joined, processes=asked.ranks, pipeline=True, cores=cores
                )
            )
        beside = own / "beside"
        made.append(
            Reference(results.CEILING, model, beside, processes=asked.ranks, pipeline=False, cores=cores)
        )
    return made


async def _one_model(
    name: str, contenders: Sequence[Contender], asked: argparse.Namespace
) -> results.ModelFound:
    found: list[results.Measure] = []
    try:
        for contender in contenders:
            progress(f"{name}: starting {contender.name}")
            await contender.start()
        if len({contender.computes_with for contender in contenders}) > 1:
            progress(f"{name}: NOT THE SAME ARITHMETIC: {[each.computes_with for each in contenders]}")
        prompts = Prompts(_vocabulary(name), seed=1)
        for contender in contenders:
            await contender.play(_warm_up(prompts, asked))
        if "idle" in asked.measures.split(","):
            found.append(await _idle(contenders[0], asked.idle_seconds))
        for measured in measures_of(asked):
            found.append(await _rounds(name, measured, contenders, prompts, asked))
    finally:
        ending = asyncio.gather(*(contender.end() for contender in contenders), return_exceptions=True)
        await to_its_end(ending)
    return results.ModelFound(
        model=name,
        about=MODELS[name].about,
        computes_with={contender.name: contender.computes_with for contender in contenders},
        measures=tuple(found),
    )


async def _rounds(
    name: str,
    measured: Measured,
    contenders: Sequence[Contender],
    prompts: Prompts,
    asked: argparse.Namespace,
) -> results.Measure:
    taking_part = [c for c in contenders if measured.ceiling or c.name != results.CEILING]
    values: dict[str, list[float]] = {contender.name: [] for contender in taking_part}
    for number in range(asked.repeat):
        task = measured.task(prompts)  # the same for all: none of them has seen it
        for contender in taking_part:
            value = figure(task, await contender.play(task))
            values[contender.name].append(value)
            progress(
                f"{name}: {measured.name}, round {number + 1}/{asked.repeat}, {contender.name}: {value:.4g}"
            )
    return results.measure(measured.name, measured.unit, values, more_is_better=measured.more_is_better)


async def _idle(ring: Contender, seconds: float) -> results.Measure:
    """Share of one core that all processes of the ring use together while nothing is asked of it."""
    assert isinstance(ring, Ours)
    await asyncio.sleep(min(2.0, seconds))  # for what the last request left to do
    before, began = ring.processor_seconds(), time.monotonic()
    await asyncio.sleep(seconds)
    share = (ring.processor_seconds() - before) / (time.monotonic() - began)
    progress(f"idle ring: {share:.2%} of a core")
    return results.measure(
        "idle ring, all its processes", "of one core", {ring.name: [share]}, more_is_better=False
    )


def _warm_up(prompts: Prompts, asked: argparse.Namespace) -> Task:
    return Task(
        kind="decode",
        prompts=tuple(tuple(prompts.take(asked.prompt_tokens)) for _ in range(asked.ranks)),
        tokens=8,
    )


def _vocabulary(name: str) -> int:
    shape = MODELS[name].shape
    return int(shape["vocab_size"]) if shape else 49152


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments_of(given)
    comparison = run("compare", lambda: compare(asked))
    if isinstance(comparison, int):
        return comparison
    results.write(comparison, asked.out)
    print(results.table(comparison))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
