"""A rank process with a tiny model in place of a real one: ``python -m tests.ring.fake_rank ...``.

Starts in half the time, and its caches are plain running sums, so a step that is lost, doubled or out
of order changes every token after it.
"""

import sys
from collections.abc import Callable

from ringcore.rank.blas import prefer_openblas

prefer_openblas()  # as `ringcore.rank.start` does, before MLX is loaded

import mlx.core as mx  # noqa: E402

from ringcore.cache.kinds import Holds  # noqa: E402
from ringcore.models.stage import ModelStage, SequenceCache  # noqa: E402
from ringcore.rank.command import main  # noqa: E402
from ringcore.spec.deployment import Deployment  # noqa: E402
from ringcore.spec.shard import Shard  # noqa: E402

HIDDEN, VOCABULARY = 576, 101


class SumCache:
    """The sum of all hidden states that passed (1, 1, D), and how many."""

    def __init__(self) -> None:
        self.total = mx.zeros((1, 1, HIDDEN))
        self.offset = 0

    def empty(self) -> bool:
        return self.offset == 0

    @property
    def state(self) -> mx.array:
        return self.total

    @property
    def nbytes(self) -> int:
        return self.total.nbytes


class FakeHead:
    def __init__(self, head: mx.array, rows: slice) -> None:
        self._head, self._rows = head, rows

    def part(self, hidden: mx.array) -> mx.array:
        return hidden @ self._head[:, self._rows]

    def whole(self, hidden: mx.array) -> mx.array:
        return hidden @ self._head


class FakeStage:
    """Layer i: h = sin(h W_i + sum of all its inputs so far): never settles on one token."""

    def __init__(self, shard: Shard, head_rows: int = 0) -> None:
        self.shard = shard
        self.hidden_size, self.vocab_size, self.dtype = HIDDEN, VOCABULARY, mx.float32
        self.merges, self.uncut, self.holds = True, ("SumCache",), frozenset[Holds | None]()
        self.cache_layers = tuple(range(shard.start, shard.end))
        key = mx.random.key(1)
        self._embedding = mx.random.normal((VOCABULARY, HIDDEN), key=key)
        self._head = mx.random.normal((HIDDEN, VOCABULARY), key=mx.random.key(2))
        rows = slice(head_rows) if shard.is_first else slice(head_rows, None)
        self.head = FakeHead(self._head, rows) if head_rows else None
        self._layers = [
            mx.random.normal((HIDDEN, HIDDEN), key=mx.random.key(100 + i)) / HIDDEN**0.5
            for i in range(shard.start, shard.end)
        ]

    @property
    def weight_bytes(self) -> int:
        return self._embedding.nbytes + self._head.nbytes + sum(layer.nbytes for layer in self._layers)

    def fingerprints(self) -> tuple[str, tuple[str, ...]]:
        layers = range(self.shard.start, self.shard.end)
        return "fake" if self.shard.is_first else "", tuple(f"layer {layer}" for layer in layers)

    def make_cache(self) -> SequenceCache:
        return [SumCache() for _ in self._layers]

    def __call__(self, x: mx.array, cache: SequenceCache, want_logits: bool = True) -> mx.array:
        h = self._embedding[x] if self.shard.is_first else x
        for layer, held in zip(self._layers, cache, strict=True):
            sums = held.total + mx.cumsum(h, axis=1)
            held.total, held.offset = sums[:, -1:], held.offset + h.shape[1]
            h = mx.sin(h @ layer + sums)
        if not self.shard.is_last:
            return h
        if self.head:
            return h[:, -1]
        return h[:, -1] @ self._head if want_logits else h


def load_fake(deployment: Deployment, progress: Callable[[float, str], None]) -> ModelStage:
    plan = deployment.plan
    stage = FakeStage(plan.stages[deployment.rank].shard, plan.head_rows)
    progress(1.0, "fake")
    return stage


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], load_fake))
