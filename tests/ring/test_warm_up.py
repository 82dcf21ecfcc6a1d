"""Before the first request a stage computes all that a step will."""

import mlx.core as mx
import pytest

from ringcore.rank import command
from ringcore.spec.shard import Shard
from tests.ring.fake_rank import HIDDEN, VOCABULARY, FakeStage

ROWS, HEAD_ROWS = 2, 40
LAYERS = {True: (ROWS, 1, HIDDEN), False: (ROWS, HIDDEN)}  # by whether the stage is the first


@pytest.mark.parametrize("first", [True, False])
def test_the_layers_and_each_product_with_a_shared_head_are_computed(
    first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[tuple[int, ...]] = []
    monkeypatch.setattr(mx, "eval", lambda arrays: computed.extend(array.shape for array in arrays))
    command._warm_up(FakeStage(Shard(0, 2, 4) if first else Shard(2, 4, 4), HEAD_ROWS), ROWS, 1)
    logits = [(ROWS, HEAD_ROWS)] if first else [(ROWS, VOCABULARY - HEAD_ROWS), (ROWS, VOCABULARY)]
    assert computed == [LAYERS[first], *logits]
