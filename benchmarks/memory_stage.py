"""One process of `benchmarks.memory`: makes a model's folder, or loads one of its stages and fills contexts.

Prints one line of JSON last. Everything that is measured is done by the code that ranks run.
"""

import asyncio
import shutil
import sys
from pathlib import Path

import msgspec

from benchmarks.memory import CASES, Options, Stage
from ringcore.rank.blas import prefer_openblas

_DECODED = 32  # tokens of each sequence


def main(what: str, which: str, model: Path, options: Options) -> None:
    prefer_openblas()
    if what == "make":
        _make(which, model, options)
        print("{}")
        return
    ranks, rank = map(int, which.split("."))
    print(msgspec.json.encode(_load(ranks, rank, model, options)).decode())


def _make(name: str, model: Path, options: Options) -> None:
    from console.demo.cache import user_cache
    from console.demo.model import demo_model
    from tests.models.small import build

    case = CASES[name]
    if case.architecture:
        build(case.architecture, model, case.quantized, options.layers, **case.changes)
        return
    source = asyncio.run(demo_model(user_cache(), lambda _share, _text: None))
    shutil.copytree(source, model)


def _load(ranks: int, rank: int, model: Path, options: Options) -> Stage:
    import mlx.core as mx
    import psutil

    from ringcore.models.load import load_stage
    from ringcore.planning.plan import make_plan
    from ringcore.rank.executor import Executor
    from tests.checkpoint.files import read_card
    from tests.planning.worlds import facts, hosts, profile

    ring = profile(
        hosts(ranks), objective="equal", context=options.context, sequences=options.sequences,
        prefill_chunk=options.prefill_chunk,
    )  # fmt: skip
    plan = make_plan(read_card(model, "float32"), ring, facts(*[64 << 30] * ranks), {})
    planned = plan.stages[rank]
    process = psutil.Process()
    before = process.memory_info().rss
    stage = load_stage(model, planned.shard, dtype=plan.dtype, on_progress=lambda _share, _text: None)
    loaded = mx.get_active_memory()
    grown = process.memory_info().rss - before
    mx.reset_peak_memory()
    executor = Executor(stage)
    filled = _fill(executor, stage, options)
    return Stage(
        ranks=ranks,
        rank=rank,
        layers=f"{planned.shard.start}..{planned.shard.end - 1}",
        planned_weights=planned.weight_bytes,
        parameters=stage.weight_bytes,
        allocated=loaded,
        process=grown,
        planned_kv=planned.kv_bytes,
        filled=filled,
        planned_kv_and_workspace=planned.kv_bytes + planned.workspace_bytes,
        peak=mx.get_peak_memory() - loaded,
    )


def _fill(executor: "object", stage: "object", options: Options) -> int:
    """The contexts of all sequences to the last token: by prompts, the end of them by decoding together.
    The most that the caches held."""
    import mlx.core as mx

    from ringcore.engine import opening
    from ringcore.engine.step import Operation, Row, Step
    from ringcore.rank.executor import Executor
    from ringcore.rank.link import Message
    from ringcore.spec.engine import Submit

    assert isinstance(executor, Executor)
    number = 0

    def step(operation: Operation, rows: list[Row], tokens: int = 0, payload: bytes = b"") -> None:
        nonlocal number
        number += 1
        first = stage.shard.is_first  # type: ignore[attr-defined]
        hidden = None
        if operation is Operation.RUN and not first:
            count = sum(row.count for row in rows)
            hidden = mx.zeros((count, stage.hidden_size), dtype=stage.dtype)  # type: ignore[attr-defined]
        executor.perform(Message(Step(operation, tuple(rows), (1,) * tokens, payload, number), hidden))

    request = Submit(id="r", prompt=[1], max_tokens=1, stop_tokens=[])
    prompt = options.context - _DECODED
    for slot in range(options.sequences):
        step(Operation.OPEN, [Row(slot)], payload=opening.encode(opening.make_opening(request)))
        for at in range(0, prompt, options.prefill_chunk):
            count = min(options.prefill_chunk, prompt - at)
            step(Operation.RUN, [Row(slot, count, at, at + count == prompt)], tokens=count)
    most = executor.kv_bytes
    for at in range(prompt, options.context):
        step(Operation.RUN, [Row(slot, 1, at, True, 1) for slot in range(options.sequences)])
        most = max(most, executor.kv_bytes)
    return most


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), msgspec.json.decode(sys.argv[4], type=Options))
