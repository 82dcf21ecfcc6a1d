"""JSON schemas as grammars that the ring's sampling can follow, checked here, where a client can be told.

The mask of allowed tokens is made where the token is drawn (`ringcore.engine.grammar`).
"""

from typing import Any

import msgspec

from ringcore.gateway.errors import invalid
from ringcore.spec.engine import MAX_GRAMMAR_BYTES

# Between the parts of a document. Without a bound a small model may write blanks for ever.
_BLANKS = r"[ \n]{0,6}"


def grammar_of(schema: dict[str, Any], field: str) -> str:
    """Takes milliseconds. Raises `ApiFault` 400 that names ``field`` for what llguidance does not know."""
    from llguidance import LLMatcher

    try:
        text = msgspec.json.encode(schema).decode()
        grammar = LLMatcher.grammar_from_json_schema(text, overrides={"whitespace_pattern": _BLANKS})
    except (ValueError, RecursionError) as error:
        raise invalid(f"{field}: the schema cannot be read: {error}", param=field) from error
    size = len(grammar.encode())
    if size > MAX_GRAMMAR_BYTES:
        raise invalid(
            f"{field}: the schema makes a grammar of {size} bytes, {MAX_GRAMMAR_BYTES} are allowed",
            param=field,
        )
    if wrong := LLMatcher.validate_grammar(grammar):
        raise invalid(f"{field}: the schema cannot be followed: {wrong.strip():.300}", param=field)
    return grammar
