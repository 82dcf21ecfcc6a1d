"""What is measured, and how much of it: the command line's options as measures. Starts nothing."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from benchmarks.models import MODELS
from benchmarks.tasks import Kind, Task
from console.bench.prompts import Prompts

ABOUT = "Our ring against mlx-lm, on the same weights, dtype, BLAS and cores."
MEASURES = ("idle", "decode", "prefill", "stall")
_DEFAULT_MODELS = ("smollm2-4bit", "smollm2-float32", "qwen2-4bit", "qwen2-float32")
_STREAMS = 4  # that run while a prompt arrives


class Measured(Struct, frozen=True, kw_only=True):
    """One measure: what each contender is asked (with new prompts in every round) and who takes part."""

    name: str
    unit: str
    kind: Kind
    at_once: int
    prompt_tokens: int
    tokens: int
    late_tokens: int = 0
    more_is_better: bool = True
    ceiling: bool = True

    def task(self, prompts: Prompts) -> Task:
        return Task(
            kind=self.kind,
            prompts=tuple(tuple(prompts.take(self.prompt_tokens)) for _ in range(self.at_once)),
            tokens=self.tokens,
            late=tuple(prompts.take(self.late_tokens)) if self.late_tokens else (),
        )


def arguments_of(given: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.compare", description=ABOUT)
    add = parser.add_argument
    add("--models", default=",".join(_DEFAULT_MODELS), help=f"of {', '.join(MODELS)}")
    add("--measures", default=",".join(MEASURES), help=f"of {', '.join(MEASURES)}")
    add("--repeat", type=int, default=5, help="rounds of every measure (5)")
    add("--ranks", type=int, default=2, choices=range(1, 9), help="of the ring, and processes of mlx-lm (2)")
    add("--layers", default="", help="of each rank of the ring by hand, such as 15,15 (as planned)")
    add("--at-once", default="1,4,8", help="requests of the decode measures (1,4,8)")
    add("--tokens", type=int, default=64, help="of each answer (64)")
    add("--prompt-tokens", type=int, default=32, help="of each prompt of a decode (32)")
    add("--prefill-tokens", type=int, default=1024, help="of the prompt that is read (1024)")
    add("--late-tokens", type=int, default=4000, help="of the prompt that arrives while others run (4000)")
    add("--idle-seconds", type=float, default=30.0, help="how long the ring is watched doing nothing (30)")
    add("--out", type=Path, default=Path("comparison.json"), help="the JSON file (comparison.json)")
    add("--quick", action="store_true", help="a tiny model and few tokens: does it all work")
    asked = parser.parse_args(given)
    if asked.quick:
        asked.models, asked.repeat, asked.at_once = "tiny", 2, "1,4"
        asked.tokens, asked.prompt_tokens, asked.prefill_tokens, asked.late_tokens = 24, 8, 96, 400
        asked.idle_seconds = 1.0
    for names, known in ((asked.models, MODELS), (asked.measures, MEASURES)):
        for name in names.split(","):
            if name not in known:
                parser.error(f"{name!r} is none of {', '.join(known)}")
    if min(asked.repeat, asked.tokens - 1, asked.prompt_tokens, asked.prefill_tokens, asked.late_tokens) < 1:
        parser.error("--repeat and every number of tokens must be at least 1, --tokens 2")
    if asked.idle_seconds <= 0:
        parser.error("--idle-seconds must be above 0")
    asked.at_once = tuple(sorted(set(_counts(parser, "--at-once", asked.at_once))))
    asked.layers = _counts(parser, "--layers", asked.layers) if asked.layers else ()
    if asked.layers and len(asked.layers) != asked.ranks:
        parser.error(f"--layers names {len(asked.layers)} ranks, the ring has {asked.ranks}")
    return asked


def _counts(parser: argparse.ArgumentParser, option: str, given: str) -> tuple[int, ...]:
    try:
        counts = tuple(int(part) for part in given.split(","))
    except ValueError:
        parser.error(f"{option} {given!r} is not a list of numbers such as 1,4,8")
    if min(counts) < 1:
        parser.error(f"{option} counts from 1")
    return counts


def measures_of(asked: argparse.Namespace) -> list[Measured]:
    wanted = asked.measures.split(",")
    found: list[Measured] = []
    if "decode" in wanted:
        found += [
            Measured(
                name=f"decode, {count} at once",
                unit="tok/s",
                kind="decode",
                at_once=count,
                prompt_tokens=asked.prompt_tokens,
                tokens=asked.tokens,
            )
            for count in asked.at_once
        ]
    if "prefill" in wanted:
        found.append(
            Measured(
                name=f"prefill of {asked.prefill_tokens} tokens",
                unit="tok/s",
                kind="prefill",
                at_once=1,
                prompt_tokens=asked.prefill_tokens,
                tokens=1,
            )
        )
    if "stall" in wanted:
        found += [
            Measured(
                name=name,
                unit="s, 99th percentile between two tokens of a stream",
                kind="stall",
                at_once=_STREAMS,
                prompt_tokens=asked.prompt_tokens,
                tokens=asked.tokens,
                late_tokens=late,
                more_is_better=False,
                ceiling=False,
            )
            for late, name in (
                (0, f"{_STREAMS} streams alone"),
                (asked.late_tokens, f"{_STREAMS} streams while {asked.late_tokens} tokens arrive"),
            )
        ]
    return found


def sizes_of(asked: argparse.Namespace) -> tuple[int, int]:
    """(sequences, context) that the ring needs. Streams that wait for a late prompt run on meanwhile."""
    sequences = max(*asked.at_once, _STREAMS + 1, 8)
    longest = max(asked.prefill_tokens, asked.late_tokens, asked.prompt_tokens + asked.tokens)
    return sequences, longest + 512
