"""What a step reads, and so how long a stage takes for it."""

import pytest
from msgspec import structs

from ringcore.planning.needs import Needs
from ringcore.planning.pace import CONVERSATION, UNPACKING, Reads, on_processors, rows_together
from ringcore.spec.card import ModelCard
from ringcore.spec.units import MIB
from tests.planning.worlds import quantised

LAYERS = 4


def needs(card: ModelCard, context: int = 1024, sequences: int = 6) -> Needs:
    return Needs(card, context=context, sequences=sequences, prefill_chunk=64)


def weights(card: ModelCard) -> list[int]:
    """What a step of one sequence reads of each layer and of the head, without caches and norm."""
    found = Reads(needs(card), 1)
    tokens = min(1024 // 2, CONVERSATION)
    layers = [
        found.sums[number + 1] - found.sums[number] - tokens * layer.kv_bytes_per_token
        for number, layer in enumerate(card.layers)
    ]
    return [*layers, found.head]


def test_on_a_gpu_weights_count_by_their_bytes() -> None:
    assert weights(quantised("bfloat16")) == [2 * MIB] * LAYERS + [16 * MIB]


def test_on_a_processor_quantised_weights_count_by_their_number_whatever_their_bits() -> None:
    assert weights(quantised("float32")) == [UNPACKING * 2 * MIB] * LAYERS + [UNPACKING * 8 * MIB]


def test_dense_weights_count_by_their_bytes_on_a_processor_too() -> None:
    dense = structs.replace(quantised("float32"), quantization="")
    assert not on_processors(dense)
    assert weights(dense) == [2 * MIB] * LAYERS + [16 * MIB]


@pytest.mark.parametrize(("dtype", "rows"), [("float32", 1), ("bfloat16", 3)])
def test_sequences_share_a_step_where_that_gains_something(dtype: str, rows: int) -> None:
    assert rows_together(needs(quantised(dtype)), 2) == rows


def test_a_long_context_counts_as_a_conversation_and_not_as_if_it_were_full() -> None:
    card = quantised("bfloat16")
    short, long = (Reads(needs(card, context=size), 1) for size in (2 * CONVERSATION, 200 * CONVERSATION))
    assert short.sums == long.sums
