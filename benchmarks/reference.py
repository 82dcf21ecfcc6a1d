"""One process of mlx-lm: ``python -m benchmarks.reference MODEL [--pipeline]``. Lines of `Task` on stdin,
lines of `Played` on stdout, after a `Hello`.

Uses what mlx-lm itself offers: ``generate_step`` for one request, ``BatchGenerator`` for several,
``sharded_load`` for ``--pipeline``, with its own defaults (a prefill step of 2,048 tokens, 8 prompts
together). It takes no part in HTTP or text, which is in its favour. Has the BLAS of a rank.
"""

import argparse
import os
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.tasks import Hello, Played, Task, task_decoder
from console.bench.completions import Answer
from ringcore.rank.blas import blas_in_use, prefer_openblas


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.reference")
    parser.add_argument("model", type=Path)
    parser.add_argument("--pipeline", action="store_true", help="as one rank of MLX_RANK and MLX_HOSTFILE")
    asked = parser.parse_args(arguments)
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what mlx-lm prints is not for the pipe
    tasks = _tasks()
    prefer_openblas()
    try:
        model = _load(asked.model, asked.pipeline)
    except Exception as error:  # noqa: BLE001 - the edge of the process: who started it tells why
        _say(out, Hello(computes_with="", fault=f"{type(error).__name__}: {error}"))
        return 1
    _say(out, Hello(computes_with=_computes_with()))
    while (task := tasks.get()) is not None:
        try:
            _say(out, Played(answers=tuple(_play(model, task))))
        except Exception as error:  # noqa: BLE001 - as above
            _say(out, Played(fault=f"{type(error).__name__}: {error}"))
            return 1
    return 0


def _tasks() -> "queue.Queue[Task | None]":
    """Read in a thread of its own: the end of stdin ends the process, whatever it waits for then."""
    tasks: queue.Queue[Task | None] = queue.Queue()

    def read() -> None:
        # not sys.stdin: the interpreter takes its lock when it ends, which this thread would hold
        with open(0, "rb", closefd=False) as lines:
            for line in lines:
                tasks.put(task_decoder.decode(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return tasks


def _say(out: Any, message: Hello | Played) -> None:
    out.write(msgspec.json.encode(message) + b"\n")
    out.flush()


def _load(folder: Path, pipeline: bool) -> Any:
    import mlx.core as mx
    from mlx_lm.utils import load_model, sharded_load

    if not pipeline:
        return load_model(folder)[0]
    model, *_ = sharded_load(str(folder), mx.distributed.init(strict=True, backend="ring"), None)
    return model


def _computes_with() -> str:
    import mlx.core as mx

    return f"cpu, {blas_in_use()}" if mx.default_device().type == mx.DeviceType.cpu else "gpu"


def _play(model: Any, task: Task) -> list[Answer]:
    if task.kind == "stall" or len(task.prompts) > 1:
        return _together(model, task)
    return [_alone(model, prompt, task.tokens) for prompt in task.prompts]


def _alone(model: Any, prompt: Sequence[int], tokens: int) -> Answer:
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    began = time.monotonic()
    arrivals = [time.monotonic() for _ in generate_step(mx.array(list(prompt)), model, max_tokens=tokens)]
    mx.synchronize()  # it has begun one more step, which must not run into the next measure
    return _answer(began, arrivals, len(prompt))


def _together(model: Any, task: Task) -> list[Answer]:
    from mlx_lm.generate import BatchGenerator

    generator = BatchGenerator(model)
    # with a prompt that comes late, the streams go on for as long as it takes
    most = 1 << 30 if task.late else task.tokens
    began = time.monotonic()
    arrivals: dict[int, list[float]] = {
        uid: []
        for uid in generator.insert([list(prompt) for prompt in task.prompts], [most] * len(task.prompts))
    }
    streams = list(arrivals.values())
    late: list[float] = []
    late_began = 0.0
    for uid, now in _responses(generator):
        arrivals[uid].append(now)
        if not task.late:
            continue
        if not late_began and min(map(len, streams)) >= task.lead:
            late_began = time.monotonic()
            arrivals[generator.insert([list(task.late)], [1])[0]] = late
        if late and all(_after(stream, late[0]) >= 2 for stream in streams):
            break
    generator.close()
    answers = [
        _answer(began, stream, len(prompt)) for stream, prompt in zip(streams, task.prompts, strict=True)
    ]
    return [*answers, _answer(late_began, late, len(task.late))] if task.late else answers


def _responses(generator: Any) -> Iterator[tuple[int, float]]:
    """(request, when its token was there), until every request has ended."""
    while True:
        prompts, tokens = generator.next()
        if not prompts and not tokens:
            return
        now = time.monotonic()
        for response in tokens:
            yield response.uid, now


def _after(times: Sequence[float], moment: float) -> int:
    return sum(time > moment for time in times)


def _answer(began: float, arrivals: Sequence[float], prompt: int) -> Answer:
    return Answer(
        began=began,
        ended=arrivals[-1],
        arrivals=tuple(arrivals),
        prompt_tokens=prompt,
        tokens=len(arrivals),
        reason="length",
    )


if __name__ == "__main__":
    raise SystemExit(main())
