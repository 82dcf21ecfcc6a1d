"""A run of layers: half-open, frozen, and never an impossible one."""

import msgspec
import pytest

from ringcore.spec.shard import Shard


def test_a_range_is_half_open() -> None:
    shard = Shard(2, 5, 10)
    assert shard.count == 3
    assert [layer for layer in range(10) if layer in shard] == [2, 3, 4]


def test_only_a_range_at_an_end_of_the_model_is_first_or_last() -> None:
    assert (Shard(0, 3, 10).is_first, Shard(0, 3, 10).is_last) == (True, False)
    assert (Shard(3, 9, 10).is_first, Shard(3, 9, 10).is_last) == (False, False)
    assert (Shard(9, 10, 10).is_first, Shard(9, 10, 10).is_last) == (False, True)
    assert (Shard(0, 1, 1).is_first, Shard(0, 1, 1).is_last) == (True, True)


@pytest.mark.parametrize("bounds", [(3, 3, 10), (4, 3, 10), (-1, 3, 10), (8, 11, 10), (0, 0, 0)])
def test_an_empty_range_or_one_that_leaves_the_model_is_refused(bounds: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"layers {bounds[0]}\.\.{bounds[1]} .* {bounds[2]} layers"):
        Shard(*bounds)


def test_a_shard_cannot_be_changed() -> None:
    shard = Shard(0, 3, 10)
    with pytest.raises(AttributeError):
        shard.end = 5  # type: ignore[misc]


def test_a_shard_survives_the_way_through_json() -> None:
    shard = Shard(2, 5, 10)
    assert msgspec.json.decode(msgspec.json.encode(shard), type=Shard) == shard


def test_an_impossible_range_is_refused_from_json_too() -> None:
    for text in (b'{"start": 5, "end": 2, "total": 10}', b'{"start": 0, "end": 2}'):
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(text, type=Shard)


def test_shards_sort_by_where_they_start() -> None:
    assert sorted([Shard(4, 6, 6), Shard(0, 2, 6), Shard(2, 4, 6)])[0] == Shard(0, 2, 6)
    assert len({Shard(0, 2, 6), Shard(0, 2, 6)}) == 1
