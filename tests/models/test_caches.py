"""What a model's code sees in the place of caches that other stages hold."""

import mlx.core as mx
import pytest
from mlx_lm.models.cache import ArraysCache, CacheList, KVCache, RotatingKVCache

from ringcore.cache.sequence import offset
from ringcore.models.caches import FIRST, Caches
from ringcore.spec.errors import RingError
from ringcore.spec.shard import Shard

ROWS = mx.zeros((1, 1, 3, 4))


def filled(cache: KVCache | RotatingKVCache) -> KVCache | RotatingKVCache:
    cache.update_and_fetch(ROWS, ROWS)
    return cache


def state() -> ArraysCache:
    cache = ArraysCache(size=1)
    cache[0] = mx.ones((1, 2))
    return cache


def test_a_cache_of_another_stage_is_seen_as_the_own_one_of_its_kind() -> None:
    whole = [RotatingKVCache(8), KVCache(), RotatingKVCache(8), KVCache()]
    caches = Caches(whole, [0, 1, 2, 3], Shard(2, 4, 4))
    own = [filled(RotatingKVCache(8)), filled(KVCache())]
    assert caches.seen_by_the_model(own) == [own[0], own[1], own[0], own[1]]


def test_a_window_of_another_size_is_another_kind() -> None:
    caches = Caches([RotatingKVCache(8), RotatingKVCache(16)], [0, 1], Shard(1, 2, 2))
    own = [filled(RotatingKVCache(16))]
    seen = caches.seen_by_the_model(own)
    assert seen[0] is not own[0]
    assert (seen[0].max_size, seen[0].offset) == (8, 3)


def test_a_kind_that_the_stage_has_none_of_is_at_the_stages_position() -> None:
    caches = Caches([KVCache(), ArraysCache(1), RotatingKVCache(8)], [0, 1, 2], Shard(1, 3, 3))
    seen = caches.seen_by_the_model([state(), filled(RotatingKVCache(8))])
    assert (type(seen[0]), seen[0].offset) == (KVCache, 3)


def test_a_stage_of_states_alone_counts_its_tokens() -> None:
    caches = Caches([ArraysCache(1), KVCache()], [0, 1], Shard(0, 1, 2), needs_position=True)
    own = [ArraysCache(1)]
    for count in (5, 1):
        before = offset(own)
        caches.seen_by_the_model(own)
        own[0][0] = mx.ones((1, 2))
        caches.advance(own, before, count)
    assert caches.seen_by_the_model(own)[1].offset == 6


def test_merged_states_that_forgot_a_needed_position_are_refused() -> None:
    merged = [ArraysCache.merge([state(), state()])]
    whole, owners, shard = [ArraysCache(1), KVCache()], [0, 1], Shard(0, 1, 2)
    with pytest.raises(RingError, match="position"):
        Caches(whole, owners, shard, needs_position=True).seen_by_the_model(merged)
    assert Caches(whole, owners, shard).seen_by_the_model(merged)[0] is merged[0]


def test_a_cache_that_is_never_used_does_not_stand_for_others() -> None:
    caches = Caches([KVCache(), KVCache(), KVCache()], [0, 1, 2], Shard(1, 3, 3))
    own = [KVCache(), filled(KVCache())]
    assert offset(own) == 3
    assert caches.seen_by_the_model(own) == [own[1], own[0], own[1]]


def test_the_position_is_found_in_a_list_of_caches() -> None:
    assert offset([CacheList(state(), filled(KVCache()))]) == 3


def test_what_comes_before_the_layers_is_the_first_stages() -> None:
    whole, owners = [ArraysCache(1), KVCache(), KVCache()], [FIRST, 0, 1]
    assert [type(each) for each in Caches(whole, owners, Shard(0, 1, 2)).own] == [ArraysCache, KVCache]
    assert [type(each) for each in Caches(whole, owners, Shard(1, 2, 2)).own] == [KVCache]
