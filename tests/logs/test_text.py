"""Text from hosts is made harmless before anything draws it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.logs.text import MAX_LINE_CHARACTERS, safe_line, safe_piece, safe_text


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("plain", "plain"),
        ("ends\r\n", "ends"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[1;38;5;200mred\x1b[m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bMup", "up"),
        ("lone \x1b", "lone \u241b"),
        ("bell\x07", "bell\u2407"),
        ("back\x08", "back\u2408"),
        ("over\rwritten", "over\u240dwritten"),
        ("a\tb", "a   b"),
        ("del\x7f", "del\u2421"),
        ("c1 \x9b31m", "c1 \ufffd31m"),
        ("rtl \u202e", "rtl \ufffd"),
        ("zero\u200bwidth", "zero\ufffdwidth"),
        ("[red]markup[/]", "[red]markup[/]"),
        ("äöü 漢字 🙂", "äöü 漢字 🙂"),
    ],
)
def test_a_line_is_made_harmless(raw: str, safe: str) -> None:
    assert safe_line(raw) == safe


def test_a_very_long_line_is_cut_visibly() -> None:
    assert safe_line("x" * (MAX_LINE_CHARACTERS + 1)) == "x" * MAX_LINE_CHARACTERS + "…"


def test_text_of_several_lines_keeps_its_line_ends() -> None:
    assert safe_text("one\ntwo\x07\r\nthree") == "one\ntwo\u2407\nthree"


_characters = st.characters(exclude_categories=()) | st.sampled_from("\x1b[]m;\x07\\0P\x9b")


@given(st.text(_characters, max_size=60))
def test_no_control_character_is_ever_left(raw: str) -> None:
    safe = safe_line(raw)
    assert all(character == " " or ord(character) >= 0x20 for character in safe)
    assert not any(0x7F <= ord(c) <= 0x9F or 0x202A <= ord(c) <= 0x202E for c in safe)
    assert safe_line(safe) == safe
    safe.encode()


@given(st.text(_characters, max_size=60))
def test_text_has_no_control_character_but_line_ends(raw: str) -> None:
    assert "\x1b" not in safe_text(raw) and "\r" not in safe_text(raw)


@given(st.text(_characters, max_size=60), st.integers(0, 60))
def test_a_text_in_pieces_is_as_harmless_as_the_whole_wherever_it_is_cut(raw: str, at: int) -> None:
    whole = safe_piece(raw)
    assert safe_piece(raw[:at]) + safe_piece(raw[at:]) == whole
    assert all(character in "\n\t" or ord(character) >= 0x20 for character in whole)
    assert not any(0x7F <= ord(c) <= 0x9F or 0x202A <= ord(c) <= 0x202E for c in whole)


def test_a_text_in_pieces_keeps_its_lines_its_tabs_and_its_emoji() -> None:
    assert safe_piece("if x:\r\n\ty  # 👩\u200d💻") == "if x:\n\ty  # 👩\u200d💻"
