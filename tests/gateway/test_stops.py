"""Stop strings in a stream, wherever its pieces are cut."""

from hypothesis import given
from hypothesis import strategies as st

from ringcore.gateway.stops import Stops

_TEXT = st.text(alphabet="ab", max_size=20)


def fed(stops: Stops, pieces: list[str]) -> str:
    return "".join(stops.push(piece) for piece in pieces) + stops.flush()


@given(pieces=st.lists(_TEXT, max_size=10), strings=st.lists(_TEXT.filter(bool), max_size=4))
def test_the_text_ends_where_the_first_stop_string_begins_however_it_is_cut(
    pieces: list[str], strings: list[str]
) -> None:
    text = "".join(pieces)
    stops = Stops(strings)
    found = fed(stops, pieces)
    hits = [(text.find(string) + len(string), text.find(string)) for string in strings if string in text]
    assert stops.found == bool(hits)
    if not hits:
        assert found == text
    else:
        # The stop string that is complete first ends the answer; no other begins before it in what is shown.
        assert text.startswith(found)
        assert len(found) <= min(hits)[1]
        assert not any(string in found for string in strings)


def test_what_cannot_be_a_stop_string_comes_at_once() -> None:
    stops = Stops(["end"])
    assert stops.push("the fox") == "the fox"
    assert stops.push(" e") == " "
    assert stops.push("n") == ""
    assert stops.push("x") == "enx"
    assert stops.push("en") == ""
    assert stops.push("d and more") == ""
    assert stops.found
    assert stops.push("more") == ""
    assert stops.flush() == ""


def test_without_stop_strings_nothing_is_held_back() -> None:
    stops = Stops([])
    assert stops.push("anything") == "anything"
    assert stops.flush() == ""
    assert not stops.found
