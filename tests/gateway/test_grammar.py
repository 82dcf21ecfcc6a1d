"""Calls of tools as grammars, whatever the model's marks are made of."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from ringcore.gateway.grammar import CallMarks, calls_of, grammar_of, grammar_with_calls
from tests.gateway.small_tokenizer import write_tokenizer

START, END = "<tool_call>", "</tool_call>"
CALL = {
    "type": "object",
    "properties": {"name": {"const": "clock"}, "arguments": {"type": "object", "properties": {}}},
    "required": ["name", "arguments"],
    "additionalProperties": False,
}
GOOD = '{"name": "clock", "arguments": {}}'
BAD = '{"name": "watch", "arguments": {}}'


class Model:
    """A tokenizer, in which the marks are tokens or spelled out, and what its sampling makes of a grammar."""

    def __init__(self, folder: Path, tokens: bool) -> None:
        from llguidance import LLTokenizer

        write_tokenizer(folder, marks=(START, END) if tokens else (), special_marks=True)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._sampling = LLTokenizer((folder / "tokenizer.json").read_text())
        ids = [self.tokenizer.token_to_id(mark) for mark in (START, END)]
        self.marks = CallMarks(start=START, end=END, start_token=ids[0], end_token=ids[1])

    def may(self, grammar: str, tokens: list[int]) -> bool:
        """Write ``tokens`` and end there."""
        from llguidance import LLMatcher

        matcher = LLMatcher(self._sampling, grammar, log_level=0)
        return matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting()


@pytest.fixture(params=[True, False], ids=["marks are tokens", "marks are text"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Model:
    return Model(tmp_path, request.param)


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("just words, <tool and </tool_call too", True),
        (f"look: {START}{GOOD}{END}", True),
        (f"{START}\n{GOOD}\n{END}\n\n{START}{GOOD}{END} so", True),
        (f"{START}{BAD}{END}", False),
        (f"{START}{GOOD}", False),
        (f"{START}words{END}", False),
        (f"so {START}{GOOD}{END} and {START}{BAD}{END}", False),
    ],
)
def test_text_is_free_and_calls_are_not(model: Model, text: str, good: bool) -> None:
    grammar = grammar_with_calls(CALL, model.marks, "tools")
    assert model.may(grammar, model.tokenizer.encode(text).ids) is good


def test_a_mark_that_is_spelled_out_gets_nobody_round_the_schema(model: Model) -> None:
    grammar = grammar_with_calls(CALL, model.marks, "tools")
    spelled = [model.tokenizer.encode(letter).ids for letter in f"{START}{BAD}{END}"]
    assert not model.may(grammar, [token for ids in spelled for token in ids])


def test_beside_a_format_the_answer_is_a_document_or_calls(model: Model) -> None:
    answer: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    grammar = grammar_with_calls(CALL, model.marks, "response_format", answer=answer)
    for text, good in (
        ('{"a": 1}', True), (f"{START}{GOOD}{END}", True), (f"{START}{GOOD}{END}\n{START}{GOOD}{END}", True),
        ("words", False), ("", False), (f'{{"a": 1}}{START}{GOOD}{END}', False),
        (f"{START}{BAD}{END}", False),
    ):  # fmt: skip
        assert model.may(grammar, model.tokenizer.encode(text).ids) is good, text


LIST = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$defs": {"node": {
        "type": "object", "properties": {"next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["next"], "additionalProperties": False}},
    "type": "object", "properties": {"n": {"$ref": "#/$defs/node"}}, "required": ["n"],
    "additionalProperties": False,
}  # fmt: skip
FLAG = {
    "definitions": {"node": {"type": "boolean"}}, "type": "object",
    "properties": {"n": {"$ref": "#/definitions/node"}}, "required": ["n"], "additionalProperties": False,
}  # fmt: skip


@pytest.mark.parametrize("tools", [{"a": LIST}, {"a": LIST, "b": FLAG, "c": None}], ids=["one", "three"])
@pytest.mark.parametrize("marked", [False, True])
def test_references_of_a_tool_are_its_own(model: Model, tools: dict[str, Any], marked: bool) -> None:
    calls = calls_of(tools)
    grammar = grammar_with_calls(calls, model.marks, "tools") if marked else grammar_of(calls, "tools")
    for name, arguments, good in (
        ("a", '{"n": {"next": {"next": null}}}', True),
        ("a", '{"n": true}', False),
        ("b", '{"n": true}', "b" in tools),
        ("b", '{"n": {"next": null}}', False),
        ("c", '{"x": [1]}', "c" in tools),
    ):
        text = f'{{"name": "{name}", "arguments": {arguments}}}'
        text = f"{START}{text}{END}" if marked else text
        assert model.may(grammar, model.tokenizer.encode(text).ids) is good, text


def test_remarks_cost_nothing_on_the_ring() -> None:
    remarks = {"title": "T" * 300, "description": "D" * 3000, "examples": ["x" * 3000]}
    plain = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    said = {**remarks, **plain, "properties": {"title": {**remarks, "type": "string", "default": "x"}}}
    assert grammar_of(said, "x") == grammar_of(plain, "x")
