"""A ring on one GPU against mlx-lm in one process there: ``python -m benchmarks.gpu --out FILE``.

Random 4-bit models in the shapes of real ones, the same folder for everybody. Contenders: mlx-lm, a ring
of 1, and a ring of 2 whose ranks share the GPU (over MLX's ``ring`` backend on loopback: NCCL wants a GPU a
rank). All are loaded at once and work by turns, one measurement each, as often as asked, so that what
changes in the machine meets all of them. ``--tiny`` is the same with small shapes. Answers are compared too:
in bfloat16 they part early, since mlx-lm reads a prompt's last token by itself and so rounds otherwise;
``--dtype float32`` shows that they are the same (set ``MLX_ENABLE_TF32=0``).
"""

import argparse
import json
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, Protocol

from benchmarks.gpu_models import BITS, DTYPES, GROUP_SIZE, SHAPES
from benchmarks.ring_driver import REPOSITORY, Answer, Ring
from ringcore.checkpoint.survey import survey
from ringcore.planning.card import make_card
from ringcore.planning.plan import make_plan
from ringcore.spec.facts import HostFacts
from ringcore.spec.plan import Plan
from ringcore.spec.profile import HostOptions, Profile, RingOptions
from ringcore.spec.units import GIB

CONTEXT, SEQUENCES, MEMORY_BYTES = 8192, 8, 60 * GIB
CHUNK = 2048  # mlx-lm's own prefill step, and what a plan for a GPU takes where there is room
LEAD = 8  # tokens of an answer before its rate is measured
MLX_LM = "mlx-lm"


@dataclass(frozen=True)
class Task:
    """``requests`` prompts of ``prompt`` tokens, ``tokens`` of answer each; ``tokens`` 1 times the prompt."""

    name: str
    requests: int
    prompt: int
    tokens: int

    def rate(self, answers: Sequence[Answer]) -> float:
        """Tokens a second: of the prompt until the first token is there, or of all answers while all run."""
        if self.tokens == 1:
            return self.prompt / (answers[0].arrivals[0] - answers[0].began)
        start = max(answer.arrivals[LEAD] for answer in answers)
        end = min(answer.arrivals[-1] for answer in answers)
        count = sum(start < moment <= end for answer in answers for moment in answer.arrivals)
        return count / (end - start)


class Contender(Protocol):
    def answers(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[Answer]: ...


class MlxLm:
    """`benchmarks.gpu_reference` in its own process; a context manager."""

    def __init__(self, model: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.gpu_reference", str(model)],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.versions = self._line()

    def __enter__(self) -> "MlxLm":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def pids(self) -> list[int]:
        return [self._process.pid]

    def answers(self, prompts: Sequence[Sequence[int]], tokens: int) -> list[Answer]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([prompts, tokens]) + "\n")
        self._process.stdin.flush()
        return [Answer(began, tuple(arrivals), tuple(said)) for began, arrivals, said in self._line()]

    def _line(self) -> Any:
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            raise SystemExit("mlx-lm's process ended; what it said stands above")
        return json.loads(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gpu")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where models are made, kept and found again")
    parser.add_argument("--tiny", action="store_true", help="small shapes and few tokens")
    parser.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="of what floats")
    asked = parser.parse_args(arguments)
    tasks = tasks_of(tiny=asked.tiny)
    result: dict[str, Any] = {
        "versions": {name: version(name) for name in ("mlx", "mlx-lm", "msgspec")},
        "python": platform.python_version(),
        "machine": device(),
        "settings": {
            "bits": BITS, "group_size": GROUP_SIZE, "context": CONTEXT, "sequences": SEQUENCES,
            "repeats": asked.repeats, "tiny": asked.tiny, "dtype": asked.dtype,
            "tasks": [vars(task) for task in tasks],
        },
        "models": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="gpu-models-") as folder:
        for name in asked.models:
            made = make_model(name, asked.folder or Path(folder), tiny=asked.tiny, dtype=asked.dtype)
            for result["models"][name] in compare(made, tasks, asked.repeats):
                asked.out.write_text(json.dumps(result, indent=1))
            if name in result["models"]:
                show(name, result["models"][name])
    return 0


def tasks_of(*, tiny: bool) -> tuple[Task, ...]:
    prompt, tokens, long = (16, 32, 128) if tiny else (64, 192, 4096)
    return (
        Task("decode 1", 1, prompt, tokens),
        Task(f"decode {SEQUENCES}", SEQUENCES, prompt, tokens),
        Task(f"prefill {long}", 1, long, 1),
    )


def make_model(name: str, folder: Path, *, tiny: bool, dtype: str) -> Path:
    """In a process of its own, whose memory is free when it has ended. One that is there is taken."""
    if (folder / name / "config.json").exists():
        return folder / name
    command = [sys.executable, "-m", "benchmarks.gpu_models", name, str(folder / name), "--dtype", dtype]
    subprocess.run([*command, *(["--tiny"] if tiny else [])], cwd=REPOSITORY, check=True)
    return folder / name


def device() -> str:
    """The GPU in its driver's words; without one, the processor's kind."""
    if shutil.which("nvidia-smi") is None:
        return platform.processor() or platform.machine()
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    return subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()


def plan_for(model: Path, ranks: int, chunk: int) -> Plan:
    """As the console plans it, for hosts that are all this machine."""
    found = survey(model)
    card = make_card(model.name, found["config"], found["tensors"], "stored")
    profile = Profile(
        name="benchmark",
        model=str(model),
        hosts=tuple(
            HostOptions(name=f"rank{rank}", ssh="local", address="127.0.0.1", memory_bytes=MEMORY_BYTES)
            for rank in range(ranks)
        ),
        ring=RingOptions(context=CONTEXT, sequences=SEQUENCES, prefill_chunk=chunk),
    )
    facts = [
        HostFacts(
            host=host.name, os="linux", arch="x86_64", user="", home="", shell="", cores=1,
            total_memory_bytes=MEMORY_BYTES, available_memory_bytes=MEMORY_BYTES, disk_free_bytes=0,
        )
        for host in profile.hosts
    ]  # fmt: skip
    return make_plan(card, profile, facts, {})


def compare(model: Path, tasks: Sequence[Task], repeats: int) -> Iterator[dict[str, Any]]:
    """After each repetition what there is until then: rates by contender and task, and each contender's
    layers and agreement with mlx-lm."""
    plans = {
        "ring of 1": plan_for(model, 1, CHUNK),
        "ring of 2": plan_for(model, 2, CHUNK),
    }
    vocabulary = json.loads((model / "config.json").read_bytes())["vocab_size"]
    with ExitStack() as stack:
        reference = stack.enter_context(MlxLm(model))
        contenders: dict[str, Contender] = {MLX_LM: reference}
        for name, plan in plans.items():
            contenders[name] = stack.enter_context(Ring(plan, model))
        for name, contender in contenders.items():
            for task in tasks:
                began = time.monotonic()
                contender.answers(prompts_of(task, vocabulary, 0), task.tokens)
                print(f"{name}, {task.name}: warm after {time.monotonic() - began:.1f} s", flush=True)
        rates: dict[str, dict[str, list[float]]] = {
            name: {task.name: [] for task in tasks} for name in contenders
        }
        same: dict[str, list[int]] = {name: [] for name in contenders}
        for repeat in range(1, repeats + 1):
            for task in tasks:
                prompts = prompts_of(task, vocabulary, repeat)
                said: dict[str, list[Answer]] = {}
                turn = repeat % len(contenders)
                for name in [*contenders][turn:] + [*contenders][:turn]:
                    said[name] = contenders[name].answers(prompts, task.tokens)
                    rates[name][task.name].append(round(task.rate(said[name]), 2))
                for name in contenders:
                    same[name] += [
                        alike(*both)
                        for both in zip(said[MLX_LM], said[name], strict=True)
                        if task.requests == 1 and task.tokens > 1
                    ]
            yield {
                "computes_with": reference.versions["device"],
                "layers": {
                    name: [stage.shard.count for stage in plan.stages] for name, plan in plans.items()
                },
                "rates": rates,
                "first_tokens_as_mlx_lm": same,
                "ratios": {name: ratios(rates[name], rates[MLX_LM]) for name in rates},
            }


def prompts_of(task: Task, vocabulary: int, seed: int) -> list[list[int]]:
    """Nobody has seen them before; the same for every contender."""
    draw = random.Random(f"{task.name} {seed}")
    return [[draw.randrange(vocabulary) for _ in range(task.prompt)] for _ in range(task.requests)]


def alike(one: Answer, other: Answer) -> int:
    """Tokens before the first that differs."""
    pairs = zip(one.tokens, other.tokens, strict=True)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), len(one.tokens))


def ratios(rates: dict[str, list[float]], reference: dict[str, list[float]]) -> dict[str, float]:
    return {task: round(median(rates[task]) / median(reference[task]), 3) for task in rates}


def show(name: str, found: dict[str, Any]) -> None:
    print(f"{name} ({found['computes_with']})")
    for contender, rates in found["rates"].items():
        for task, values in rates.items():
            print(
                f"  {contender:28} {task:14} {median(values):10.1f} tok/s  "
                f"({min(values):.1f} to {max(values):.1f})  {found['ratios'][contender][task]:.3f}"
            )
        print(f"  {contender:28} answers as mlx-lm's for {found['first_tokens_as_mlx_lm'][contender]} tokens")


if __name__ == "__main__":
    raise SystemExit(main())
