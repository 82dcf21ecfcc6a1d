"""The root of the blocks' names tells weights apart, and neither splits nor files nor hosts."""

import os
from itertools import pairwise
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ringcore.models.fingerprint import fingerprint
from ringcore.rank.prefix import fingerprints
from ringcore.spec.root import root_of
from tests.models.running import load
from tests.models.small import build
from tests.ring.harness import make_plan

LAYERS = 5


def root(model: Path, *bounds: int, dtype: str = "float32") -> str:
    stages = load(model, *bounds, dtype=dtype)
    plan = make_plan([end - start for start, end in pairwise(bounds)], order="forward")
    return root_of(plan, {rank: fingerprints(stage) for rank, stage in enumerate(stages)})


@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "4bit"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
def test_the_root_is_the_same_in_every_split(quantized: bool, tied: bool, tmp_path: Path) -> None:
    model = build("qwen3", tmp_path, quantized, LAYERS, tie_word_embeddings=tied)
    roots = {root(model, *bounds) for bounds in ((0, 5), (0, 2, 5), (0, 1, 3, 5), (0, 1, 2, 3, 4, 5))}
    assert len(roots) == 1 and len(roots.pop()) == 32


def test_the_same_weights_in_other_files_of_another_date_have_the_same_root(tmp_path: Path) -> None:
    one = build("llama", tmp_path / "one", layers=LAYERS)
    three = build("llama", tmp_path / "three", layers=LAYERS, files=3)
    for file in three.iterdir():
        os.utime(file, (1, 1))
    assert root(one, 0, 2, 5) == root(three, 0, 2, 5)


def test_another_training_or_dtype_has_another_root(tmp_path: Path) -> None:
    first = build("llama", tmp_path / "1", layers=LAYERS)
    other = build("llama", tmp_path / "2", layers=LAYERS, seed=9)
    roots = [root(first, 0, 5), root(other, 0, 5), root(first, 0, 5, dtype="float16")]
    assert len(set(roots)) == 3


@pytest.mark.parametrize("shape", [(8,), (3, 5, 7), (256, 40), (260, 400), (101, 1009)])
@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16, mx.uint32, mx.uint8], ids=str)
def test_one_bit_anywhere_makes_another_fingerprint(shape: tuple[int, ...], dtype: mx.Dtype) -> None:
    array = (mx.random.normal(shape, key=mx.random.key(1)) * 50).astype(dtype)
    known = fingerprint([array])
    flat = array.reshape(-1).view(mx.uint8)
    for at in (0, flat.size // 3, flat.size - 1):
        bits = flat + (mx.arange(flat.size) == at).astype(mx.uint8)
        assert fingerprint([bits.view(dtype).reshape(shape)]) != known
    assert fingerprint([array.reshape(-1)]) != known or len(shape) == 1
    assert fingerprint([array + 0]) == known


@given(st.permutations(range(64)))
def test_rows_in_another_order_are_other_weights(order: list[int]) -> None:
    array = mx.random.uniform(shape=(64, 1024), key=mx.random.key(2))
    moved = array[mx.array(order)]
    assert (fingerprint([moved]) == fingerprint([array])) == bool(mx.array_equal(moved, array))


def test_two_words_that_changed_places_between_samples_are_noticed() -> None:
    count = 1 << 16
    array = mx.random.uniform(shape=(count,), key=mx.random.key(2))
    order = list(range(count))
    order[3], order[20001] = order[20001], order[3]
    assert fingerprint([array[mx.array(order)]]) != fingerprint([array])


def test_arrays_that_are_views_count_as_what_they_show() -> None:
    array = mx.random.normal((12, 20), key=mx.random.key(3))
    large = mx.random.normal((300, 200), key=mx.random.key(4))
    for view in (array.T, array[::2], array[:, 3:9], large.T, large[:, 3:199]):
        assert fingerprint([view]) == fingerprint([mx.contiguous(view)])


def test_sums_wrap_around() -> None:
    array = mx.full((1 << 16,), 0xFFFFFFFF, dtype=mx.uint32)
    assert fingerprint([array]) != fingerprint([array - 1])


def test_names_count_and_lists_of_modules_are_taken_in() -> None:
    mx.random.seed(1)
    one, two = nn.Linear(4, 4), nn.Linear(4, 4)
    assert fingerprint([[one, two]]) != fingerprint([[two, one]])
    assert fingerprint([one]) != fingerprint([[one]])
    assert fingerprint([nn.RMSNorm(4)]) != fingerprint([nn.RMSNorm(4).weight])
