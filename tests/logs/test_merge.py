"""Lines of several hosts come out in one order."""

from hypothesis import given
from hypothesis import strategies as st

from console.logs.merge import MAX_HELD, Merger
from tests.logs.lines import line, lines


def texts(entries: list) -> list[str]:
    return [entry.text for entry in entries]


def test_nothing_comes_out_before_it_has_waited() -> None:
    merger = Merger(hold=0.25)
    merger.push(line("a"), now=10.0)
    assert merger.pop(10.2) == [] and len(merger) == 1
    assert texts(merger.pop(10.25)) == ["a"] and len(merger) == 0


def test_a_line_that_comes_late_takes_its_place_by_its_own_time() -> None:
    merger = Merger(hold=0.25)
    merger.push(line("second", time=2.0), now=10.0)
    merger.push(line("first", time=1.0), now=10.1)
    assert texts(merger.pop(10.4)) == ["first", "second"]


def test_with_a_line_that_has_waited_go_the_older_ones_that_have_not() -> None:
    merger = Merger(hold=0.25)
    merger.push(line("waited", time=5.0), now=10.0)
    merger.push(line("older", time=4.0), now=10.2)
    merger.push(line("newer", time=6.0), now=10.2)
    assert texts(merger.pop(10.3)) == ["older", "waited"]
    assert texts(merger.pop(10.5)) == ["newer"]


def test_a_host_whose_clock_is_ahead_delays_nobody_and_is_not_delayed() -> None:
    merger = Merger(hold=0.25)
    merger.push(line("ahead", time=9e9), now=10.0)
    merger.push(line("right", time=1.0), now=10.01)
    assert texts(merger.pop(10.26)) == ["right", "ahead"]


def test_lines_of_the_same_time_keep_the_order_in_which_they_came() -> None:
    merger = Merger(hold=0.0)
    for text in "dabc":
        merger.push(line(text, time=7.0), now=1.0)
    assert texts(merger.pop(1.0)) == ["d", "a", "b", "c"]


def test_a_flood_is_not_held_back() -> None:
    merger = Merger(hold=60.0)
    for entry in lines(0, MAX_HELD + 1):
        merger.push(entry, now=0.0)
    assert len(merger.pop(0.0)) == MAX_HELD + 1


_eighths = st.integers(0, 8).map(lambda number: number / 8)  # sums of them are exact
_arriving = st.lists(st.tuples(st.floats(0, 100), _eighths), max_size=40)


@given(_arriving)
def test_every_line_comes_out_once_sorted_in_its_batch_and_never_later_than_the_hold(
    arriving: list[tuple[float, float]],
) -> None:
    merger, now, due, out = Merger(hold=0.25), 0.0, {}, []
    for number, (time, pause) in enumerate(arriving):
        now += pause
        merger.push(line(str(number), time=time), now)
        due[str(number)] = now + merger.hold
        batch = merger.pop(now)
        assert [entry.time for entry in batch] == sorted(entry.time for entry in batch)
        out += texts(batch)
        assert all(text in out for text, at in due.items() if at <= now)
    out += texts(merger.pop(now + merger.hold))
    assert sorted(out) == sorted(due)
