"""What is asked of a cache is done as its class says; what a class cannot do is an error of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest
from mlx_lm.models.cache import (
    ArraysCache,
    BatchKVCache,
    CacheList,
    ChunkedKVCache,
    ConcatenateKVCache,
    KVCache,
    QuantizedKVCache,
    RotatingKVCache,
)

from ringcore.cache import kinds, parts, sequence, state_file
from ringcore.cache.blocks import Blocks
from ringcore.cache.kinds import NotPossible
from ringcore.spec.errors import RingError
from tests.models.running import load, step
from tests.models.small import build

WINDOW = 8
MAKE: dict[str, Callable[[], Any]] = {
    "KVCache": KVCache,
    "ConcatenateKVCache": ConcatenateKVCache,
    "QuantizedKVCache": lambda: QuantizedKVCache(group_size=32, bits=8),
    "RotatingKVCache": lambda: RotatingKVCache(WINDOW),
    "ChunkedKVCache": lambda: ChunkedKVCache(WINDOW),
}


def rows(start: int, count: int, batch: int = 1) -> mx.array:
    """(B, 1, count, 32): each token's number in every place."""
    numbers = mx.arange(start, start + count, dtype=mx.float32)
    return mx.broadcast_to(numbers[None, None, :, None], (batch, 1, count, 32))


def feed(leaf: Any, *counts: int) -> None:
    for count in counts:
        if type(leaf) is ChunkedKVCache:
            leaf.maybe_trim_front()  # as its model does before every step
        held = leaf.offset
        leaf.update_and_fetch(rows(held, count), rows(held, count) * 2)


def seen(leaf: Any, row: int = 0) -> list[int]:
    """Numbers of the tokens that are held, oldest first."""
    keys = kinds.in_order(leaf, row)
    if type(leaf) is QuantizedKVCache:
        keys = (mx.dequantize(*keys[:3], group_size=32, bits=8),)
    return [round(number) for number in keys[0][0, 0, :, 0].tolist()]


def at(leaf: Any, tokens: int) -> list[int]:
    """What a cache of ``tokens`` must hold at least."""
    window = kinds.window(leaf) if kinds.holds(leaf) is kinds.Holds.WINDOW else tokens
    return list(range(max(0, tokens - window), tokens))


@pytest.mark.parametrize("counts", [(5,), (20,), (5, 1, 1), (20, 1, 1, 1), (3, 17, 1), (9, *[1] * 30)])
@pytest.mark.parametrize("name", MAKE)
def test_tokens_come_out_in_order_and_go_into_another_that_goes_on_like_the_first(
    name: str, counts: tuple[int, ...]
) -> None:
    first, tokens = MAKE[name](), sum(counts)
    feed(first, *counts)
    assert seen(first)[-len(at(first, tokens)) :] == at(first, tokens)
    cuts = [parts.cut(first, 0, tokens)]
    other = sequence.new([first])[0]
    parts.join(other, cuts, tokens)
    for more in (1, 1, 12, 1, 3):
        feed(first, more)
        feed(other, more)
        assert (first.offset, seen(first)[-WINDOW:]) == (other.offset, seen(other)[-WINDOW:])


@pytest.mark.parametrize("name", ["RotatingKVCache", "ChunkedKVCache"])
@pytest.mark.parametrize("block", [4, 8, 32])
def test_a_window_is_cut_at_any_block_that_the_newest_step_completed(name: str, block: int) -> None:
    first, kept = MAKE[name](), []
    for count in (3, 30, 1, 1, 13, *[1] * 48):
        before = first.offset
        feed(first, count)
        for end in range(before // block * block + block, first.offset + 1, block):
            kept.append(parts.cut(first, end - block, end))
    for number in range(1, len(kept) + 1):
        other = MAKE[name]()
        for at_once in (kept[: number // 2], kept[number // 2 : number]):
            parts.join(other, at_once, block * len(at_once))
        assert other.offset == number * block
        assert seen(other)[-WINDOW:] == at(first, number * block)
        feed(other, 5, 1)
        assert seen(other)[-WINDOW:] == at(first, number * block + 6)


def test_what_a_window_has_forgotten_cannot_be_cut() -> None:
    leaf = RotatingKVCache(WINDOW)
    feed(leaf, 20, 1)
    with pytest.raises(RingError, match=r"tokens 0\.\.8 were to be stored of a cache that holds 13\.\.21"):
        parts.cut(leaf, 0, 8)


@pytest.mark.parametrize("name", MAKE)
def test_a_cache_goes_back_as_far_as_it_holds_what_is_needed(name: str) -> None:
    leaf = MAKE[name]()
    feed(leaf, 6, 15)
    cache = [leaf]
    sequence.truncate(cache, 19)
    assert sequence.offset(cache) == 19
    assert seen(leaf)[-WINDOW:] == list(range(19 - WINDOW, 19))
    feed(leaf, 1, 4)
    assert seen(leaf)[-WINDOW:] == list(range(24 - WINDOW, 24))
    if kinds.holds(leaf) is kinds.Holds.WINDOW:
        with pytest.raises(NotPossible, match=r"go back to 5 tokens: those before \d+ are gone"):
            sequence.truncate(cache, 5)
        assert sequence.offset(cache) == 24
    else:
        sequence.truncate(cache, 5)
        assert seen(leaf) == [0, 1, 2, 3, 4]
    with pytest.raises(RingError, match="cannot be cut to 99"):
        sequence.truncate(cache, 99)
    sequence.truncate(cache, 0)
    assert leaf.empty() and sequence.offset(cache) == 0
    feed(leaf, 3, 1)
    assert seen(leaf) == [0, 1, 2, 3]


def state(tokens: int) -> ArraysCache:
    leaf = ArraysCache(2)
    leaf[0] = mx.full((1, 3, 4), tokens)
    return leaf


def test_a_state_goes_nowhere_but_to_where_it_is_or_to_the_start() -> None:
    cache = [CacheList(state(9), KVCache())]
    feed(cache[0][1], 9)
    with pytest.raises(NotPossible, match="ArraysCache cannot go back"):
        sequence.truncate(cache, 8)
    assert cache[0][1].offset == 9, "nothing was changed"
    sequence.truncate(cache, 9)
    assert cache[0][0][0] is not None
    sequence.truncate(cache, 0)
    assert cache[0][0].empty() and cache[0][1].empty()


def test_states_are_kept_whole_with_what_they_lack_and_share_nothing() -> None:
    leaf = state(7)
    part = parts.cut(leaf, 3, 7)
    other = ArraysCache(2)
    parts.join(other, [(), part], 7)
    assert mx.array_equal(other[0], leaf[0]) and other[1] is None
    other[0][0] = 0
    again = ArraysCache(2)
    parts.join(again, [part], 7)
    assert mx.array_equal(again[0], leaf[0])


def test_caches_of_states_alone_know_where_they_are_behind_blocks() -> None:
    blocks, cache = Blocks(), [state(64), state(64)]
    blocks.store(cache, 0, 0, 64, [3])
    other = sequence.new([ArraysCache(2), ArraysCache(2)])
    blocks.load(other, [3], 0, 64)
    assert sequence.offset(other) == 64
    assert not hasattr(sequence.new(other)[0], "offset")


def test_windows_that_keep_first_tokens_and_unknown_classes_are_told_by_type() -> None:
    class Odd:
        def empty(self) -> bool:
            return False

    kept = RotatingKVCache(WINDOW, keep=4)
    feed(kept, 3)
    assert kinds.unknown([kept, Odd(), KVCache()]) == ["Odd", "RotatingKVCache that keeps its first tokens"]
    for leaf in (kept, Odd()):
        with pytest.raises(NotPossible, match="cannot be cut"):
            parts.cut(leaf, 0, 1)
        with pytest.raises(NotPossible, match="cannot go on from blocks"):
            parts.join(leaf, [(mx.zeros((1, 1, 1, 1)),) * 2], 1)
        with pytest.raises(NotPossible, match="cannot hold several"):
            sequence.keep_rows([leaf], [0])


def batch(*caches: Any) -> Any:
    return type(caches[0]).merge(list(caches))


@pytest.mark.parametrize("name", ["KVCache", "RotatingKVCache"])
def test_a_batch_takes_in_others_gives_each_up_and_is_cut_by_row(name: str) -> None:
    leaves = [MAKE[name]() for _ in range(4)]
    for leaf, count in zip(leaves, (3, 12, 7, 30), strict=True):
        feed(leaf, count)
    together = [batch(*leaves[:2])]
    for _ in range(6):
        held = together[0].offset
        new = mx.broadcast_to(held[:, None, None, None].astype(mx.float32), (2, 1, 1, 32))
        together[0].update_and_fetch(new, new)
    sequence.extend(together, [batch(*leaves[2:])])
    lengths = [9, 18, 7, 30]
    assert together[0].offset.tolist() == lengths
    for row, length in enumerate(lengths):
        assert kinds.offset(together[0], row) == length
        assert seen(together[0], row)[-WINDOW:] == list(range(max(0, length - WINDOW), length))
        (keys, _) = parts.cut(together[0], length - 4, length, row)
        assert [round(number) for number in keys[0, 0, :, 0].tolist()] == list(range(length - 4, length))
    sequence.keep_rows(together, [3, 0])
    assert together[0].offset.tolist() == [30, 9]
    assert seen(together[0], 1)[-WINDOW:] == list(range(1, 9))
    with pytest.raises(NotPossible, match="go back"):
        sequence.truncate(together, 5)


def test_states_of_a_batch_are_cut_by_row() -> None:
    states = [state(number) for number in (5, 6, 7)]
    for leaf in states:
        leaf[1] = -leaf[0]
    merged = ArraysCache.merge(states[:2])
    sequence.extend([merged], [ArraysCache.merge(states[2:])])
    (first, second) = parts.cut(merged, 0, 7, row=2)
    assert first.shape == second.shape == (1, 3, 4)
    assert {*first.flatten().tolist(), *second.flatten().tolist()} == {7, -7}


def test_batches_of_other_kinds_or_windows_are_not_taken_in() -> None:
    one, other, plain = RotatingKVCache(WINDOW), RotatingKVCache(16), KVCache()
    for leaf in (one, other, plain):
        feed(leaf, 3)
    with pytest.raises(NotPossible, match="16 tokens beside its own 8"):
        sequence.extend([batch(one)], [batch(other)])
    with pytest.raises(NotPossible, match="take in a BatchKVCache"):
        sequence.extend([batch(one)], [batch(plain)])
    with pytest.raises(NotPossible, match="KVCache cannot hold several sequences"):
        sequence.keep_rows([plain], [0])
    with pytest.raises(NotPossible, match="be emptied"):
        kinds.reset(BatchKVCache.merge([plain]))


@pytest.mark.parametrize("bounds", [(0, 5), (0, 2, 5)])
@pytest.mark.parametrize("name", ["llama", "gemma3_text", "mamba2", "falcon_h1", "llama4"])
def test_a_models_caches_and_a_stages_are_cloned_written_read_and_made_anew(
    name: str, bounds: tuple[int, ...], tmp_path: Path
) -> None:
    stages = load(build(name, tmp_path / "model"), *bounds)
    caches = [stage.make_cache() for stage in stages]
    tokens = [(7 * i) % 200 for i in range(29)]
    step(stages, caches, [tokens], want_logits=False)
    clones = [sequence.clone(cache) for cache in caches]
    for number, (stage, cache) in enumerate(zip(stages, caches, strict=True)):
        state_file.write(tmp_path / f"{number}.safetensors", cache, stage.cache_layers)
    expected = step(stages, caches, [tokens[:5]])
    read = [
        state_file.read(tmp_path / f"{number}.safetensors", stage.make_cache(), stage.cache_layers)
        for number, stage in enumerate(stages)
    ]
    for again in (clones, read):
        assert [sequence.offset(cache) for cache in again] == [len(tokens)] * len(stages)
        assert mx.allclose(step(stages, again, [tokens[:5]]), expected, atol=1e-4)
    for cache in caches:
        assert sequence.nbytes(cache) > 0
        fresh = sequence.new(cache)
        assert (sequence.offset(fresh), sequence.nbytes(fresh)) == (0, 0)
        assert sequence.nbytes(cache) > 0
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("*.safetensors")} == {0o600}
    with pytest.raises(RingError, match="holds no sequence"):
        state_file.read(tmp_path / "model" / "config.json", caches[0], stages[0].cache_layers)
    with pytest.raises(RingError, match="other layers"):
        state_file.read(
            tmp_path / "0.safetensors", caches[0], [layer + 50 for layer in stages[0].cache_layers]
        )
