"""JSON schemas, and calls of tools between a model's marks, as grammars that the ring's sampling can follow,
checked here, where a client can be told.

The mask of allowed tokens is made where the token is drawn (`ringcore.engine.grammar`).
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ringcore.gateway.errors import invalid
from ringcore.spec.engine import MAX_GRAMMAR_BYTES
from ringcore.spec.packed import MAX_TEXT_BYTES, pack

# Between the parts of a document. Without a bound a small model may write blanks for ever.
_BLANKS = r"[ \n]{0,6}"
# What says something of a schema and changes no document of it. Schemas made from types are full of it.
_REMARKS = frozenset(
    {"title", "description", "examples", "default", "deprecated", "$comment", "readOnly", "$schema"}
)
_BY_NAME = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_AS_THEY_ARE = ("const", "enum", "required", "dependentRequired")


class CallMarks(Struct, frozen=True, kw_only=True):
    """What stands round a call. ``start_token`` and ``end_token``: the mark is a token of its own, no text.
    ``others``: such tokens that may stand in what is said, those of thinking."""

    start: str
    end: str
    start_token: int | None = None
    end_token: int | None = None
    others: tuple[int, ...] = ()


def grammar_of(schema: dict[str, Any], field: str) -> str:
    """Takes milliseconds. Raises `ApiFault` 400 that names ``field`` for what llguidance does not know."""
    from llguidance import LLMatcher

    try:
        text = msgspec.json.encode(_bare(schema)).decode()
        grammar = LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": _BLANKS})
    except (ValueError, RecursionError) as error:
        raise invalid(f"{field}: the schema cannot be read: {error}", param=field) from error
    return _checked(grammar, field)


def grammar_with_calls(
    call: dict[str, Any], marks: CallMarks, field: str, *, answer: dict[str, Any] | None = None
) -> str:
    """Free text with calls in it, each a document of the schema ``call``; with ``answer`` either calls or a
    document of that schema. Raises `ApiFault` 400 that names ``field``."""
    from llguidance import LLMatcher

    begin = _mark(marks.start, marks.start_token)
    body = f"BLANK? call_body BLANK? {_mark(marks.end, marks.end_token)}"
    if answer is not None:
        rules = [
            "start: answer | call (BLANK? call)*",
            f"call: {begin} {body}",
            f"answer: {_json(answer, field)}",
        ]
    else:
        # A mark that is spelled out is a mark to those who read the answer.
        spelled = re.escape(marks.start).replace("/", r"\/")
        text = rf"TEXT: /(?s:.*)/ & ~/(?s:.*){spelled}(?s:.*)/"
        rules = ["start: (call | other)* rest", "rest: TEXT", text]
        if marks.start_token is None:
            rules += [f"begin[lazy]: TEXT {begin}", f"call: begin {body}"]
        else:
            rules += [f"call: TEXT {begin} {body}"]
        if marks.others:
            rules += [f"other: TEXT <[{','.join(map(str, marks.others))}]>"]
        else:
            rules[0] = "start: call* rest"
    rules += [f"call_body: {_json(call, field)}", r"BLANK: /[ \n]{1,6}/"]
    return _checked(LLMatcher.grammar_from_lark("%llguidance {}\n" + "\n".join(rules) + "\n"), field)


def calls_of(tools: Mapping[str, dict[str, Any] | None]) -> dict[str, Any]:
    """The schema of a call of one of ``tools``: schemas of arguments by name, None: any object."""
    several = len(tools) > 1
    calls: list[dict[str, Any]] = []
    for number, (name, arguments) in enumerate(tools.items()):
        place = f"#/anyOf/{number}/properties/arguments" if several else "#/properties/arguments"
        calls.append(
            {
                "type": "object",
                "properties": {
                    "name": {"const": name},
                    "arguments": _at(place, arguments or {"type": "object"}),
                },
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
        )
    return {"anyOf": calls} if several else calls[0]


def _at(place: str, schema: Any) -> Any:
    """``schema``, whose references begin at its own root, as it reads at ``place`` of another."""
    if isinstance(schema, list):
        return [_at(place, item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and isinstance(value, str) and value.startswith("#"):
            found[key] = place + value[1:]
        elif key in _BY_NAME and isinstance(value, dict):
            found[key] = {name: _at(place, item) for name, item in value.items()}
        else:
            found[key] = value if key in _AS_THEY_ARE else _at(place, value)
    return found


def _mark(text: str, token: int | None) -> str:
    return json.dumps(text) if token is None else f"<[{token}]>"


def _json(schema: dict[str, Any], field: str) -> str:
    try:
        bound = {**_bare(schema), "x-guidance": {"whitespace_pattern": _BLANKS}}
        return f"%json {msgspec.json.encode(bound).decode()}"
    except RecursionError as error:
        raise invalid(f"{field}: the schema cannot be read: {error}", param=field) from error


def _checked(grammar: str, field: str) -> str:
    from llguidance import LLMatcher

    size, packed = len(grammar.encode()), pack(grammar)
    if size > MAX_TEXT_BYTES or len(packed) > MAX_GRAMMAR_BYTES:
        raise invalid(
            f"{field}: the schema makes a grammar of {size} bytes, packed {len(packed)}; allowed are "
            f"{MAX_TEXT_BYTES}, packed {MAX_GRAMMAR_BYTES}",
            param=field,
        )
    if wrong := LLMatcher.validate_grammar(grammar):
        raise invalid(f"{field}: the schema cannot be followed: {wrong.strip():.300}", param=field)
    return packed


def _bare(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Without remarks, which cost bytes on the ring. What carries a name of the client's is left alone."""
    found: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _BY_NAME and isinstance(value, dict):
            found[key] = {name: _bare_item(item) for name, item in value.items()}
        elif key in _AS_THEY_ARE:
            found[key] = value
        elif key not in _REMARKS:
            found[key] = _bare_item(value)
    return found


def _bare_item(value: Any) -> Any:
    if isinstance(value, dict):
        return _bare(value)
    return [_bare_item(item) for item in value] if isinstance(value, list) else value
