"""A sequence's cache as a whole."""

import mlx.core as mx
from mlx_lm.models.cache import ArraysCache, KVCache, RotatingKVCache

from ringcore.cache import sequence


def fill(cache: sequence.SequenceCache, tokens: int) -> None:
    for entry in cache:
        part = mx.random.normal((1, 2, tokens, 8))
        entry.update_and_fetch(part, part)


def test_a_new_cache_is_empty_and_shares_nothing_with_its_prototype() -> None:
    prototype = [KVCache(), RotatingKVCache(max_size=8)]
    cache = sequence.new(prototype)
    fill(cache, 3)
    assert [entry.offset for entry in (*cache, *prototype)] == [3, 3, 0, 0]
    assert len(sequence.arrays(cache)) == 4
    assert sequence.arrays(prototype) == []


def test_states_are_told_from_what_keeps_every_token() -> None:
    state = ArraysCache(2)
    cache = sequence.new([KVCache(), state])
    assert sequence.states(cache) == []
    fill(cache[:1], 3)
    cache[1][0] = mx.ones((1, 4))
    assert [array.shape for array in sequence.states(cache)] == [(1, 4)]
