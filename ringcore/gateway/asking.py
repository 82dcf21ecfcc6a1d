"""From a chat's parameters to the prompt and the marks and grammar of its answer.

Owns what the model's template and dialect make of messages, tools and formats. Knows nothing of the ring.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ringcore.gateway.errors import ApiFault, invalid
from ringcore.gateway.grammar import grammar_of
from ringcore.gateway.messages import Message
from ringcore.gateway.parameters import ChatParameters
from ringcore.gateway.sections import Kind, Marks
from ringcore.gateway.text import Text


class Asked(Struct, frozen=True, kw_only=True):
    """``prompt`` in tokens; ``tools`` as the template got them; ``grammar`` "" where the answer is free."""

    prompt: list[int]
    marks: Marks
    tools: list[Any]
    grammar: str = ""


async def ask(text: Text, parameters: ChatParameters, messages: Sequence[Message]) -> Asked:
    """``messages`` are all of the conversation. Raises `ApiFault`."""
    dialect = text.dialect
    tools = [tool.for_template() for tool in parameters.offered]
    if tools and dialect.calls is None:
        raise _lacks("tools", "this model's chat template knows no tools")
    if parameters.must_call and not dialect.json_calls:
        raise _lacks(
            "tool_choice", "only 'auto' and 'none' are offered with this model: its calls are not plain JSON"
        )
    variables = dict(parameters.chat_template_kwargs)
    if parameters.reasoning_effort is not None:
        variables["reasoning_effort"] = parameters.reasoning_effort
    text.check_template(variables)
    grammar = await asyncio.to_thread(_grammar, parameters)
    said = [message.for_template() for message in messages]
    # A long conversation takes a while to encode; the other streams go on meanwhile.
    rendered = await asyncio.to_thread(text.render_chat, said, tools, **variables)
    inside: Kind = "said"
    if dialect.thinking is not None and rendered.rstrip().endswith(dialect.thinking[0]):
        inside = "thought"
        if grammar:  # an answer that follows a grammar begins at once
            rendered = f"{rendered.rstrip()}\n\n{dialect.thinking[1]}\n\n"
            inside = "said"
    if parameters.must_call:
        assert dialect.calls is not None
        rendered, inside = f"{rendered}{dialect.calls[0]}\n", "call"
    marks = Marks(
        thinking=dialect.thinking,
        calls=dialect.calls if tools else None,
        noise=dialect.noise,
        inside=inside,
    )
    prompt = await asyncio.to_thread(text.encode, rendered, special=False)
    return Asked(prompt=prompt, marks=marks, tools=tools, grammar=grammar)


def _grammar(parameters: ChatParameters) -> str:
    if parameters.must_call:
        calls = [_call_of(tool.function.name, tool.function.parameters) for tool in parameters.offered]
        return grammar_of({"anyOf": calls} if len(calls) > 1 else calls[0], "tools")
    if parameters.schema is not None:
        return grammar_of(parameters.schema, "response_format")
    return ""


def _call_of(name: str, parameters: dict[str, Any] | None) -> dict[str, Any]:
    """The schema of a call."""
    return {
        "type": "object",
        "properties": {"name": {"const": name}, "arguments": parameters or {"type": "object"}},
        "required": ["name", "arguments"],
        "additionalProperties": False,
    }


def _lacks(param: str, reason: str) -> ApiFault:
    return invalid(f"{param}: {reason}", param=param, code="unsupported_parameter")
