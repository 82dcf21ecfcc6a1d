"""Marks in a stream of text: the same parts come out however it is cut, and nothing is lost."""

from hypothesis import given
from hypothesis import strategies as st

from ringcore.gateway.sections import Kind, Marks, Sections

THINK, CALLS = ("<think>", "</think>"), ("<tool_call>", "</tool_call>")
ALL = Marks(thinking=THINK, calls=CALLS, noise=("<|end|>",))


def parts(marks: Marks, *pieces: str) -> list[tuple[Kind, str]]:
    """Those of the same kind that follow each other as one, calls apart."""
    sections = Sections(marks)
    found: list[tuple[Kind, str]] = []
    for part in [p for piece in pieces for p in sections.push(piece)] + sections.flush():
        if found and part.kind != "call" and found[-1][0] == part.kind:
            found[-1] = (part.kind, found[-1][1] + part.text)
        else:
            found.append((part.kind, part.text))
    return found


def test_thinking_calls_and_text_come_apart() -> None:
    text = "<think>\nhm <b></think>\n\nwait<tool_call>\n{1}\n</tool_call>\n"
    text += "<tool_call>{2}</tool_call> done<|end|>"
    assert parts(ALL, text) == [
        ("thought", "hm <b>"), ("said", "wait"), ("call", "\n{1}\n"), ("call", "{2}"), ("said", "done"),
    ]  # fmt: skip


@given(
    st.lists(st.sampled_from([*THINK, *CALLS, "<|end|>", "a", "<", " ", "\n", "</", "think>"]), max_size=12),
    st.data(),
)
def test_however_it_is_cut_the_parts_are_the_same(words: list[str], data: st.DataObject) -> None:
    text = "".join(words)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(text)))))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parts(ALL, *pieces) == parts(ALL, text)


@given(st.text("ab<>/ \n", max_size=30))
def test_text_without_marks_is_untouched(text: str) -> None:
    assert "".join(part for _, part in parts(ALL, text)) == text
    assert "".join(part for _, part in parts(Marks(), text)) == text


def test_what_the_prompt_opened_goes_on_in_the_answer() -> None:
    assert parts(Marks(thinking=THINK, inside="thought"), "\nhm</think>", "\nyes") == [
        ("thought", "hm"), ("said", "yes"),
    ]  # fmt: skip
    assert parts(Marks(calls=CALLS, inside="call"), '{"a":', "1}") == [("call", '{"a":1}')]


def test_a_call_without_an_end_mark_goes_to_the_end_of_the_answer() -> None:
    assert parts(Marks(calls=("[CALLS]", "")), "so [CAL", "LS]f{}") == [("said", "so "), ("call", "f{}")]


def test_a_mark_that_stops_half_way_is_text() -> None:
    assert parts(ALL, "1 <thin") == [("said", "1 <thin")]
