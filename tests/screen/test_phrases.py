"""Lines end between phrases, wherever they fit."""

from hypothesis import given
from hypothesis import strategies as st

from console.screen.phrases import GAP, fitted

_words = st.lists(st.text("abc ", min_size=1, max_size=12).map(lambda text: f"<{text}>"), max_size=8)


def test_as_many_on_a_line_as_fit() -> None:
    assert fitted(["one", "two", "three"], 9) == "one   two\nthree"
    assert fitted(["one", "two", "three"], 8) == "one\ntwo\nthree"
    assert fitted(["one", "two"], 0) == "one   two"
    assert fitted([], 5) == ""


@given(_words, st.integers(1, 40))
def test_no_phrase_is_lost_or_broken_and_no_line_is_too_long_that_need_not_be(
    phrases: list[str], width: int
) -> None:
    lines = fitted(phrases, width).split("\n") if phrases else []
    assert GAP.join(lines) == GAP.join(phrases)
    assert all(len(line) <= width or line in phrases for line in lines)
