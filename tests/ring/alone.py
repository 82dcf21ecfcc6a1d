"""What the fake model says to one request in one process, without links, steps or other requests."""

from functools import cache

import mlx.core as mx
import msgspec

from ringcore.engine.sampler import make_sampler
from ringcore.spec.engine import Sampling
from ringcore.spec.shard import Shard
from tests.ring.fake_rank import VOCABULARY, FakeStage

CHUNK = 16  # the harness's prefill chunk: sums in float32 depend on where they are cut


@cache
def _whole(layers: int) -> FakeStage:
    return FakeStage(Shard(0, layers, layers))


def prompt(length: int, seed: int = 0) -> list[int]:
    """Token ids that look like nothing."""
    return [(37 * i * (seed + 1) + 11 * seed + i * i) % VOCABULARY for i in range(length)]


def alone(layers: int, tokens: list[int], count: int, **sampling: float) -> list[int]:
    """``count`` tokens; ``sampling``: fields of `Sampling`."""
    sampler = make_sampler(msgspec.convert(sampling, Sampling))
    stage, answer = _whole(layers), []
    held, position = stage.make_cache(), len(tokens)
    for at in range(0, len(tokens), CHUNK):
        logits = stage(mx.array([tokens[at : at + CHUNK]]), held)
    while len(answer) < count:
        answer.append(int(sampler(logits, position).item()))
        logits = stage(mx.array([answer[-1:]]), held)
        position += 1
    return answer
