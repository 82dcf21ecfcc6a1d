"""One process of mlx-lm beside the ring: ``python -m benchmarks.gpu_reference FOLDER``.

A line ``[prompts, tokens]`` on stdin is answered by a line of answers on stdout; the first line says what
it computes with. One request goes through ``generate_step``, several through ``BatchGenerator``, as mlx-lm
has them. It takes no part in messages between processes while it answers, which is in its favour.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> int:
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what mlx-lm prints is not for the pipe
    import mlx.core as mx
    from mlx_lm.utils import load_model

    model = load_model(Path(sys.argv[1]))[0]

    def say(value: object) -> None:
        out.write(json.dumps(value) + "\n")
        out.flush()

    say({"device": str(mx.default_device()), "mlx": version("mlx"), "mlx-lm": version("mlx-lm")})
    for line in sys.stdin:
        prompts, tokens = json.loads(line)
        say(_alone(model, prompts[0], tokens) if len(prompts) == 1 else _together(model, prompts, tokens))
    return 0


def _alone(model: Any, prompt: Sequence[int], tokens: int) -> list[Any]:
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    began = time.monotonic()
    arrivals: list[float] = []
    said: list[int] = []
    for token, _ in generate_step(mx.array(list(prompt)), model, max_tokens=tokens):
        arrivals.append(time.monotonic())
        said.append(int(token))
    mx.synchronize()  # it has begun one more step, which must not run into the next measurement
    return [(began, arrivals, said)]


def _together(model: Any, prompts: Sequence[Sequence[int]], tokens: int) -> list[Any]:
    from mlx_lm.generate import BatchGenerator

    generator = BatchGenerator(model)
    began = time.monotonic()
    names = generator.insert([list(prompt) for prompt in prompts], [tokens] * len(prompts))
    arrivals: dict[int, list[float]] = {name: [] for name in names}
    said: dict[int, list[int]] = {name: [] for name in names}
    while True:
        begun, responses = generator.next()
        if not begun and not responses:
            break
        now = time.monotonic()
        for response in responses:
            arrivals[response.uid].append(now)
            said[response.uid].append(int(response.token))
    generator.close()
    return [(began, arrivals[name], said[name]) for name in names]


if __name__ == "__main__":
    raise SystemExit(main())
