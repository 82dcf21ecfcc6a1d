"""The marks that models use, read with mlx-lm's own modules, and their calls as OpenAI's."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ringcore.gateway.dialect import Call, Dialect, dialect_of


def tokenizer(template: str, *vocabulary: str, **config: str) -> Any:
    """As much of transformers' as is looked at."""
    added = {number: SimpleNamespace(content=text, special=True) for number, text in enumerate(vocabulary)}
    return SimpleNamespace(
        chat_template=template,
        added_tokens_decoder=added,
        init_kwargs=config,
        get_vocab=lambda: {text: number for number, text in enumerate(vocabulary)},
        encode=lambda text, **_: [0],
    )


PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}, "days": {"type": "integer"}}}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": PARAMETERS}}]
# template -> (marks of calls, a call in that dialect)
SPOKEN = {
    "json": (
        "<tool_call>{{ tool_call.name }}",
        ("<tool_call>", "</tool_call>"),
        '{"name": "weather", "arguments": {"place": "Rom", "days": 2}}',
    ),
    "qwen3 coder": (
        "<tool_call>\n<function=",
        ("<tool_call>", "</tool_call>"),
        "<function=weather>\n<parameter=place>\nRom\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>",
    ),
    "mistral": ("[TOOL_CALLS]", ("[TOOL_CALLS]", ""), 'weather[ARGS]{"place": "Rom", "days": 2}'),
    "glm": (
        "<arg_key>",
        ("<tool_call>", "</tool_call>"),
        "weather\n<arg_key>place</arg_key><arg_value>Rom</arg_value>"
        "<arg_key>days</arg_key><arg_value>2</arg_value>",
    ),
}


@pytest.mark.parametrize("name", SPOKEN)
def test_a_dialect_is_known_by_its_template_and_its_calls_are_read(name: str) -> None:
    template, marks, text = SPOKEN[name]
    dialect = dialect_of(tokenizer(template))
    assert dialect.calls == marks
    (call,) = dialect.read(text, TOOLS)
    assert call.name == "weather"
    assert json.loads(call.arguments) == {"place": "Rom", "days": 2}
    assert dialect.json_calls is (name == "json")


def test_every_parser_of_mlx_lm_can_be_loaded_and_none_brings_mlx_with_it() -> None:
    spec = importlib.util.find_spec("mlx_lm")
    assert spec is not None and spec.submodule_search_locations
    (folder,) = spec.submodule_search_locations
    names = sorted(path.stem for path in (Path(folder) / "tool_parsers").glob("*.py"))
    assert len(names) > 10
    for name in set(names) - {"__init__"}:
        dialect = dialect_of(tokenizer("", "<|tool|>", tool_parser_type=name))
        assert dialect.calls is not None and dialect.calls[0], name
        assert isinstance(dialect.read("nonsense that is no call", TOOLS), tuple)
    ours = [module for name, module in sys.modules.items() if name.startswith("ringcore_mlx_lm")]
    assert ours and not [module for module in ours if "mx" in vars(module)]


def test_marks_of_thinking_are_known_by_the_vocabulary() -> None:
    assert dialect_of(tokenizer("", "<think>", "</think>")).thinking == ("<think>", "</think>")
    assert dialect_of(tokenizer("", "<|channel>", "<channel|>")).thinking == (
        "<|channel>thought",
        "<channel|>",
    )
    assert dialect_of(tokenizer("plain", "<|im_start|>")) == Dialect()


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", '{"name": 3, "arguments": {}}', '{"name": "f", "arguments": [1]}',
             '{"name": ""}',
             '{"arguments": {}}', "null", '{"name": "f", "arguments": "not json"}', "[" * 2000]
)  # fmt: skip
def test_what_is_no_call_is_none_and_breaks_nothing(text: str) -> None:
    assert dialect_of(tokenizer("<tool_call>{{ tool_call.name }}")).read(text, TOOLS) == ()


def test_arguments_that_come_as_text_stay_as_they_are() -> None:
    dialect = dialect_of(tokenizer("<tool_call>{{ tool_call.name }}"))
    assert dialect.read('{"name": "f", "arguments": "{\\"a\\": 1}"}', TOOLS) == (Call("f", '{"a": 1}'),)


@pytest.mark.parametrize("name", ["../../etc/passwd", "no_such_parser", "os"])
def test_a_parser_that_mlx_lm_does_not_have_means_no_tools(name: str) -> None:
    assert dialect_of(tokenizer("tool", tool_parser_type=name)).calls is None
