"""What the prefix cache gives and costs, on rings that the operator's command starts, asked through the API:
``python -m benchmarks.prefix``. See README.md beside it.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, prefix_results, results
from benchmarks.models import MODELS
from benchmarks.prefix_rings import SEQUENCES, Rings
from benchmarks.running import make_model, progress, run, to_its_end
from ringcore.planning.prefix import BLOCK_TOKENS

MEASURES = ("cost", "seen")


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks.prefix", description="What the prefix cache gives and costs."
    )
    add = parser.add_argument
    add("--model", default="smollm2-float32", choices=MODELS, help="(smollm2-float32)")
    add("--ranks", type=int, default=2, choices=range(1, 9), help="of the ring (2)")
    add("--measures", default=",".join(MEASURES), help=f"of {', '.join(MEASURES)}")
    add("--repeat", type=int, default=5, help="rounds (5)")
    add("--prompt", type=int, default=2000, help="tokens of a prompt (2000)")
    add("--seen", type=int, default=1900, help="of them seen before (1900)")
    add("--block-tokens", type=int, default=0, help="of a block; 0: what suits the model (0)")
    add("--out", type=Path, default=Path("prefix.json"), help="the JSON file (prefix.json)")
    add("--quick", action="store_true", help="a tiny model and short prompts: does it all work")
    asked = parser.parse_args(given)
    if asked.quick:
        asked.model, asked.repeat, asked.prompt, asked.seen = "tiny", 2, 300, 270
    if asked.repeat < 1 or not BLOCK_TOKENS <= asked.seen < asked.prompt:
        parser.error(f"--repeat must be at least 1, --seen {BLOCK_TOKENS} and less than --prompt")
    if wrong := set(asked.measures.split(",")) - set(MEASURES):
        parser.error(f"{', '.join(sorted(wrong))!r} is none of {', '.join(MEASURES)}")
    return asked


async def measure(asked: argparse.Namespace) -> prefix_results.Found:
    """Everything that it starts has ended when it returns, raises or is cancelled."""
    load_before, started = machine.load(), datetime.now(UTC).isoformat(timespec="seconds")
    cores, client = machine.choose_cores(asked.ranks)
    if load_before > 0.3:
        progress(f"load average {load_before:.1f}: others use this machine, so only ratios tell something")
    machine.stay_on(client)
    with tempfile.TemporaryDirectory(prefix="mlxring-prefix-") as scratch:
        folder = Path(scratch)
        progress(f"making {asked.model}")
        await make_model(asked.model, folder, cores)
        rings = Rings(asked, folder, cores)
        try:
            wanted = asked.measures.split(",")
            costs = await rings.costs() if "cost" in wanted else ()
            seen, stored = await rings.seen() if "seen" in wanted else ((), ())
        finally:
            await to_its_end(asyncio.ensure_future(rings.end()))
    return prefix_results.Found(
        machine=machine.describe(cores, client, load_before),
        versions=machine.versions(),
        commit=machine.commit(),
        settings=prefix_results.Settings(
            model=asked.model,
            about=MODELS[asked.model].about,
            computes_with=rings.computes_with,
            ranks=asked.ranks,
            layers=rings.layers,
            moved=rings.moved,
            repeat=asked.repeat,
            prompt_tokens=asked.prompt,
            seen_tokens=asked.seen,
            block_tokens=rings.block_tokens,
            context=rings.context,
            sequences=SEQUENCES,
            memory=rings.memory,
            disk=rings.disk,
            started=started,
        ),
        seen=seen,
        stored=stored,
        costs=costs,
    )


def main(given: Sequence[str] | None = None) -> int:
    asked = arguments_of(given)
    found = run("prefix", lambda: measure(asked))
    if isinstance(found, int):
        return found
    results.write(found, asked.out)
    print(prefix_results.table(found))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
