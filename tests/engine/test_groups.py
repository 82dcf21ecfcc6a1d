"""Groups that decode together, over any history of sequences that come and go."""

from hypothesis import given
from hypothesis import strategies as st

from ringcore.engine.groups import Slots, regroup

histories = st.lists(st.lists(st.integers(0, 7), unique=True, max_size=8), min_size=1, max_size=8)


@given(histories, st.integers(1, 5), st.integers(1, 8))
def test_each_sequence_is_in_exactly_one_group_and_no_group_is_too_large_or_empty(
    history: list[list[int]], most: int, rows: int
) -> None:
    groups: tuple[Slots, ...] = ()
    for answering in history:
        groups = regroup(groups, answering, most, rows)
        members = [slot for each in groups for slot in each]
        assert sorted(members) == sorted(answering)
        assert all(0 < len(each) <= rows for each in groups)


@given(histories, st.integers(1, 5), st.integers(1, 8))
def test_groups_are_even_and_as_many_as_can_be_at_work(
    history: list[list[int]], most: int, rows: int
) -> None:
    groups: tuple[Slots, ...] = ()
    for answering in history:
        groups = regroup(groups, answering, most, rows)
        sizes = [len(each) for each in groups]
        assert not sizes or max(sizes) - min(sizes) <= 1
        assert len(groups) >= min(most, len(answering))


@given(histories, st.integers(1, 5), st.integers(1, 8))
def test_nothing_moves_when_nobody_comes_or_goes(history: list[list[int]], most: int, rows: int) -> None:
    groups: tuple[Slots, ...] = ()
    for answering in history:
        groups = regroup(groups, answering, most, rows)
        assert regroup(groups, answering, most, rows) == groups


def test_a_newcomer_joins_the_smallest_group_and_leaves_the_others_alone() -> None:
    assert regroup(((0, 1), (2,)), [0, 1, 2, 3], 2, 4) == ((0, 1), (2, 3))


def test_one_that_goes_is_taken_out_where_it_was() -> None:
    assert regroup(((0, 1), (2, 3)), [0, 2, 3], 2, 4) == ((0,), (2, 3))


def test_single_rows_make_a_group_each() -> None:
    assert regroup((), [4, 1, 2, 0], 3, 1) == ((4,), (1,), (2,), (0,))


def test_a_group_that_is_left_alone_is_shared_out_evenly() -> None:
    assert regroup(((1, 2, 3, 4), (6,)), [1, 2, 3, 4], 2, 4) == ((1, 2), (4, 3))
