"""Loads stages of a model and runs them one after the other in one process; and the same prompt in mlx-lm."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import make_prompt_cache
from mlx_lm.utils import load_model

from ringcore.models.load import load_stage
from ringcore.models.stage import ModelStage, SequenceCache
from ringcore.spec.shard import Shard
from tests.models.configs.common import VOCABULARY

PROMPT = tuple((37 * i + 11) % VOCABULARY for i in range(23))
CHUNKS = (9, 8, 6)
ANSWER = 64


def load(folder: Path, *bounds: int, dtype: str = "float32") -> list[ModelStage]:
    """One stage between each two neighbours of ``bounds``; the last bound is the number of layers."""
    return [
        load_stage(folder, Shard(start, end, bounds[-1]), dtype=dtype, on_progress=lambda _share, _text: None)
        for start, end in pairwise(bounds)
    ]


def step(
    stages: Sequence[ModelStage],
    caches: Sequence[SequenceCache],
    tokens: Sequence[Sequence[int]],
    want_logits: bool = True,
) -> mx.array:
    """Pass ``tokens`` (B, L) through all stages, each evaluated before the next as between machines."""
    h = mx.array(tokens, dtype=mx.int32)
    for stage, cache in zip(stages, caches, strict=True):
        h = stage(h, cache, want_logits)
        mx.eval(h)
    return h


def prefill(
    stages: Sequence[ModelStage], caches: Sequence[SequenceCache], prompt: Sequence[Sequence[int]]
) -> mx.array:
    """The prompt of each sequence, in chunks; the logits (B, V) of the last position."""
    at = 0
    for size in CHUNKS[:-1]:
        step(stages, caches, [row[at : at + size] for row in prompt], want_logits=False)
        at += size
    return step(stages, caches, [row[at:] for row in prompt])


def greedy(stages: Sequence[ModelStage], prompt: Sequence[int] = PROMPT, count: int = ANSWER) -> list[int]:
    caches = [stage.make_cache() for stage in stages]
    logits = prefill(stages, caches, [prompt])
    answer: list[int] = []
    while len(answer) < count:
        answer.append(int(mx.argmax(logits[0]).item()))
        logits = step(stages, caches, [[answer[-1]]])
    return answer


def greedy_whole(
    folder: Path, count: int = ANSWER, caches: Callable[[nn.Module], list[Any]] = make_prompt_cache
) -> list[int]:
    """The model of mlx-lm itself, whole, its prompt in the same chunks: in some models windows make the
    answer depend on them."""
    model, _ = load_model(folder)
    cache = caches(model)
    answer: list[int] = []
    at = 0
    for size in CHUNKS:
        logits = model(mx.array([PROMPT[at : at + size]]), cache=cache)
        at += size
    while len(answer) < count:
        answer.append(int(mx.argmax(logits[0, -1]).item()))
        logits = model(mx.array([answer[-1:]]), cache=cache)
    return answer


def greedy_by_mlx_lm(folder: Path, prompt: Sequence[int] = PROMPT, count: int = ANSWER) -> list[int]:
    """mlx-lm's own answer; weights as the folder has them, which must be float32."""
    model, _ = load_model(folder)
    return [int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=count)]
