"""What the fake model says to one request in one process, without links, steps or other requests."""

from functools import cache
from typing import Any

import mlx.core as mx
import msgspec

from ringcore.engine.opening import make_opening
from ringcore.engine.sampler import Sampler
from ringcore.models.stage import ModelStage
from ringcore.spec.engine import Sampling, Submit
from ringcore.spec.shard import Shard
from tests.ring.fake_rank import VOCABULARY, FakeStage

CHUNK = 16  # the harness's prefill chunk: sums in float32 depend on where they are cut


@cache
def _whole(layers: int) -> FakeStage:
    return FakeStage(Shard(0, layers, layers))


def prompt(length: int, seed: int = 0) -> list[int]:
    """Token ids that look like nothing."""
    return [(37 * i * (seed + 1) + 11 * seed + i * i) % VOCABULARY for i in range(length)]


def alone(layers: int, tokens: list[int], count: int, **sampling: Any) -> list[int]:
    """``count`` tokens; ``sampling``: fields of `Sampling`."""
    return [token for token, _ in with_logits(layers, tokens, count, **sampling)]


def with_logits(layers: int, tokens: list[int], count: int, **sampling: Any) -> list[tuple[int, mx.array]]:
    """As `alone`, each token with the model's logits (V,) that it was drawn from."""
    return drawn_from(_whole(layers), tokens, count, **sampling)


def drawn_from(
    stage: ModelStage, tokens: list[int], count: int, **sampling: Any
) -> list[tuple[int, mx.array]]:
    """As `with_logits`, from any whole model."""
    asked = msgspec.convert(sampling, Sampling)
    sampler = Sampler(
        make_opening(Submit(id="", prompt=tokens, max_tokens=count, stop_tokens=[], sampling=asked))
    )
    answer: list[tuple[int, mx.array]] = []
    held, position = stage.make_cache(), len(tokens)
    for at in range(0, len(tokens), CHUNK):
        logits = stage(mx.array([tokens[at : at + CHUNK]]), held)
    while len(answer) < count:
        token = int(sampler.draw(logits, position).token.item())
        answer.append((token, logits[0]))
        logits = stage(mx.array([[token]]), held)
        position += 1
    return answer
