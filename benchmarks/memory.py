"""What the plan counts against what a rank holds: ``python -m benchmarks.memory [--out FILE] [--quick]``

For the demo model and six random ones each stage of a ring of one and of two is loaded by the ranks' own
code in a process of its own, and the contexts of all sequences are filled at once. A table on stdout, all
figures as JSON. Nothing is timed: the figures do not depend on what else the machine does.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from benchmarks.machine import versions

_WIDE = {
    "hidden_size": 512, "intermediate_size": 1408, "num_attention_heads": 8, "num_key_value_heads": 4,
    "vocab_size": 16000, "max_position_embeddings": 4096,
}  # fmt: skip
_EXPERTS = {"moe_intermediate_size": 256}


class Case(Struct, frozen=True, kw_only=True):
    """``changes`` to the tests' small model of that architecture; "" is the demo model."""

    about: str
    architecture: str = ""
    quantized: bool = False
    context: int = 1024  # less where a CPU is slow
    changes: Mapping[str, Any] = {}


CASES: Mapping[str, Case] = {
    "SmolLM2-135M, 4-bit": Case(about="the demo model as it is converted", context=256),
    "llama, tied head": Case(
        about="dense, the head is the embedding", architecture="llama",
        changes=_WIDE | {"tie_word_embeddings": True},
    ),
    "llama, untied head, 4-bit": Case(
        about="dense, quantised, a head of its own", architecture="llama", quantized=True, context=512,
        changes=_WIDE | {"tie_word_embeddings": False},
    ),
    "deepseek_v2": Case(
        about="latent attention, routed and shared experts, two dense layers first",
        architecture="deepseek_v2",
        changes=_WIDE | _EXPERTS | {"n_routed_experts": 16, "kv_lora_rank": 128, "qk_nope_head_dim": 64},
    ),
    "qwen3_moe, 4-bit": Case(
        about="experts in every second layer", architecture="qwen3_moe", quantized=True, context=512,
        changes=_WIDE | _EXPERTS | {"num_experts": 16, "num_experts_per_tok": 4, "head_dim": 64},
    ),
    "gemma3_text": Case(
        about="sliding windows of 256 tokens in two of three layers", architecture="gemma3_text",
        changes=_WIDE | {"head_dim": 64, "sliding_window": 256},
    ),
    "falcon_h1": Case(
        about="attention and a state-space mixer in every layer", architecture="falcon_h1",
        changes=_WIDE | {
            "head_dim": 64, "mamba_d_ssm": 1024, "mamba_n_heads": 16, "mamba_d_head": 64, "mamba_d_state": 64,
        },
    ),
}  # fmt: skip


class Options(Struct, frozen=True, kw_only=True):
    """What every model is planned for. ``layers`` of the random ones."""

    context: int = 1024
    sequences: int = 4
    prefill_chunk: int = 256
    layers: int = 8


class Stage(Struct, frozen=True, kw_only=True):
    """Bytes of one stage. ``allocated``: what MLX holds for it; ``process``: by how much the process grew,
    libraries that it loads on the way included; ``filled`` and ``peak``: caches of all contexts, and the
    most beside the weights while they were filled."""

    ranks: int
    rank: int
    layers: str
    planned_weights: int
    parameters: int
    allocated: int
    process: int
    planned_kv: int
    filled: int
    planned_kv_and_workspace: int
    peak: int


class Result(Struct, frozen=True, kw_only=True):
    model: str
    about: str
    stages: tuple[Stage, ...]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("memory.json"), help="the JSON file (memory.json)")
    parser.add_argument("--only", default="", help="models with this in their name; keeps the file's others")
    parser.add_argument("--quick", action="store_true", help="one model, short contexts: does it all work")
    asked = parser.parse_args(arguments)
    options = Options(context=256, sequences=2, prefill_chunk=64, layers=4) if asked.quick else Options()
    names = ["llama, tied head"] if asked.quick else [name for name in CASES if asked.only in name]
    results = _earlier(asked.out, options) if asked.only else []
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        for name in names:
            sys.stderr.write(f"{name}\n")
            result = Result(model=name, about=CASES[name].about, stages=_stages(name, Path(folder), options))
            results = [*(other for other in results if other.model != name), result]
    results.sort(key=lambda result: list(CASES).index(result.model))
    answer = {"versions": versions(), "options": options, "results": results}
    asked.out.write_bytes(msgspec.json.format(msgspec.json.encode(answer), indent=1) + b"\n")
    print(table(results))
    return 0


def _earlier(file: Path, options: Options) -> list[Result]:
    """What an earlier run of the same options has measured."""
    if not file.exists():
        return []
    answer = msgspec.json.decode(file.read_bytes())
    if msgspec.convert(answer["options"], Options) != options or answer["versions"] != versions():
        return []
    return msgspec.convert(answer["results"], list[Result])


def _stages(name: str, folder: Path, options: Options) -> tuple[Stage, ...]:
    model = folder / name.replace(" ", "-").replace(",", "")
    options = structs.replace(options, context=min(options.context, CASES[name].context))
    _child("make", name, str(model), options)
    found = [
        msgspec.json.decode(_child("load", f"{ranks}.{rank}", str(model), options), type=Stage)
        for ranks in (1, 2)
        for rank in range(ranks)
    ]
    return tuple(found)


def _child(what: str, which: str, model: str, options: Options) -> bytes:
    command = [
        sys.executable,
        "-m",
        "benchmarks.memory_stage",
        what,
        which,
        model,
        json.dumps(msgspec.to_builtins(options)),
    ]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=600).stdout.splitlines()[-1]


def table(results: list[Result]) -> str:
    """Rows in Markdown: one a stage. ``+`` is more than was counted."""
    rows = [
        "| model | rank, layers | weights | held | | caches | filled | | and workspace | at most | |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        for stage in result.stages:
            figures = (
                (stage.planned_weights, stage.allocated),
                (stage.planned_kv, stage.filled),
                (stage.planned_kv_and_workspace, stage.peak),
            )
            cells = [
                f"{_mib(planned)} | {_mib(held)} | {100 * (held / planned - 1):+.1f} %"
                for planned, held in figures
            ]
            place = f"{stage.rank} of {stage.ranks}, {stage.layers}"
            rows.append(f"| {result.model} | {place} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.2f}"


if __name__ == "__main__":
    raise SystemExit(main())
