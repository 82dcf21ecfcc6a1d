"""A sequence's cache grows, is measured and goes back."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ArraysCache, KVCache, RotatingKVCache

from ringcore.cache import sequence
from ringcore.spec.errors import RingError


def fill(cache: sequence.SequenceCache, tokens: int) -> None:
    for entry in cache:
        part = mx.random.normal((1, 2, tokens, 8))
        entry.update_and_fetch(part, part)


def test_a_new_cache_is_empty_and_shares_nothing_with_its_prototype() -> None:
    prototype = [KVCache(), RotatingKVCache(max_size=8)]
    cache = sequence.new(prototype)
    fill(cache, 3)
    assert (sequence.length(cache), sequence.length(prototype)) == (3, 0)
    assert sequence.nbytes(prototype) == 0
    assert sequence.arrays(prototype) == []


def test_its_bytes_are_those_of_its_buffers() -> None:
    cache = sequence.new([KVCache(), KVCache()])
    fill(cache, 3)
    assert sequence.nbytes(cache) == sum(array.nbytes for array in sequence.arrays(cache))
    assert sequence.nbytes(cache) == 2 * 2 * 2 * KVCache.step * 8 * 4


def test_trimmed_tokens_are_forgotten_and_the_rest_is_kept() -> None:
    cache = sequence.new([KVCache(), KVCache()])
    fill(cache, 10)
    kept = mx.array(cache[0].keys_and_values()[0][..., :6, :])
    sequence.trim(cache, 4)
    assert sequence.length(cache) == 6
    assert mx.array_equal(cache[0].keys_and_values()[0], kept)


def test_more_tokens_than_are_held_cannot_be_trimmed() -> None:
    cache = sequence.new([KVCache()])
    fill(cache, 3)
    with pytest.raises(RingError, match="cannot trim 4 tokens from a cache of 3"):
        sequence.trim(cache, 4)
    assert sequence.length(cache) == 3


def test_a_cache_that_cannot_go_back_is_refused_by_its_kind_and_left_as_it_is() -> None:
    rotated = sequence.new([KVCache(), RotatingKVCache(max_size=4)])
    fill(rotated, 6)
    with pytest.raises(RingError, match="RotatingKVCache"):
        sequence.trim(rotated, 1)
    assert [entry.offset for entry in rotated] == [6, 6]
    stateful = sequence.new([KVCache(), ArraysCache(2)])
    fill(stateful[:1], 6)
    with pytest.raises(RingError, match="ArraysCache"):
        sequence.trim(stateful, 1)
    assert sequence.length(stateful) == 6
