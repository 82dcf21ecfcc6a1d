"""The bounded store of lines and its filtered views."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.logs.store import LogEntry, LogFilter, LogStore, LogView
from tests.logs.lines import line, lines


def test_lines_are_found_under_the_numbers_in_which_they_came() -> None:
    store = LogStore()
    store.add(lines(0, 5))
    assert [store[number].text for number in range(5)] == ["0", "1", "2", "3", "4"]
    assert (store.first, store.end, store.dropped, len(store)) == (0, 5, 0, 5)


def test_the_oldest_lines_give_way_and_are_counted() -> None:
    store = LogStore(capacity=4)
    store.add(lines(0, 10))
    assert (store.first, store.end, store.dropped, len(store)) == (6, 10, 6, 4)
    assert [store[number].text for number in range(6, 10)] == ["6", "7", "8", "9"]


@pytest.mark.parametrize("number", [-1, 5, 10])
def test_a_line_that_was_dropped_or_has_not_come_is_refused(number: int) -> None:
    store = LogStore(capacity=4)
    store.add(lines(0, 10))
    with pytest.raises(IndexError):
        store[number]


@given(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=8))
def test_the_store_always_holds_exactly_the_newest_lines(capacity: int, batches: list[int]) -> None:
    store, added = LogStore(capacity), 0
    for batch in batches:
        store.add(lines(added, added + batch))
        added += batch
    assert store.end == added and len(store) == min(capacity, added)
    held = [store[number].text for number in range(store.first, store.end)]
    assert held == [str(number) for number in range(added)][-capacity:][: len(store)]


# views --------------------------------------------------------------------------------------------


def test_a_view_shows_what_came_at_its_last_update() -> None:
    store = LogStore()
    view = LogView(store)
    store.add(lines(0, 3))
    assert len(view) == 0
    view.update()
    assert [view[row] for row in range(3)] == [0, 1, 2]


def test_a_filter_finds_text_whatever_its_case() -> None:
    store = LogStore()
    store.add([line("Link LOST"), line("fine"), line("a link")])
    view = LogView(store, LogFilter(text="lInK"))
    assert [store[view[row]].text for row in range(len(view))] == ["Link LOST", "a link"]


def test_a_filter_by_rank_leaves_out_lines_without_one() -> None:
    store = LogStore()
    store.add([line("a", rank=1), line("b", rank=None), line("c", rank=0)])
    view = LogView(store, LogFilter(rank=1))
    assert [store[view[row]].text for row in range(len(view))] == ["a"]


@pytest.mark.parametrize("chosen", [LogFilter(), LogFilter(rank=0)], ids=["all", "filtered"])
def test_a_row_that_is_not_there_is_refused(chosen: LogFilter) -> None:
    store = LogStore()
    store.add(lines(0, 3))
    view = LogView(store, chosen)
    for row in (-1, len(view)):
        with pytest.raises(IndexError):
            view[row]


@given(
    st.integers(1, 12),
    st.lists(st.integers(0, 15), max_size=8),
    st.sampled_from([LogFilter(), LogFilter(rank=1), LogFilter(text="1"), LogFilter(text="1", rank=2)]),
)
def test_a_view_that_follows_equals_one_that_is_made_anew(
    capacity: int, batches: list[int], chosen: LogFilter
) -> None:
    store = LogStore(capacity)
    following, added, rows = LogView(store, chosen), 0, 0
    for batch in batches:
        store.add(lines(added, added + batch))
        added += batch
        old_rows = [following[row] for row in range(rows)]
        gone = following.update()
        rows = len(following)
        anew = LogView(store, chosen)
        assert [following[row] for row in range(rows)] == [anew[row] for row in range(len(anew))]
        # What stayed moved up by as many rows as went: a paused reader keeps its lines.
        assert [following[row] for row in range(len(old_rows) - gone)] == old_rows[gone:]


def test_a_filtered_view_forgets_the_numbers_of_lines_that_are_gone() -> None:
    store = LogStore(capacity=10)
    view = LogView(store, LogFilter(rank=0))
    for start in range(0, 60_000, 6000):
        store.add(LogEntry(0.0, 0, "rank", "INFO", "x") for _ in range(start, start + 6000))
        view.update()
    assert len(view) == 10 and len(view._numbers) < 10_000
