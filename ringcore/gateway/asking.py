"""From a chat's parameters to the prompt and the marks and grammar of its answer.

Owns what the model's template and dialect make of messages, tools and formats. Knows nothing of the ring.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ringcore.gateway.dialect import Dialect
from ringcore.gateway.errors import ApiFault, invalid
from ringcore.gateway.grammar import CallMarks, calls_of, grammar_of, grammar_with_calls
from ringcore.gateway.messages import Message, Tool
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
    variables = {**_effort(text, parameters), **parameters.chat_template_kwargs}
    text.check_template(variables)
    if parameters.continue_final_message:
        variables |= {"continue_final_message": True, "add_generation_prompt": False}
    elif parameters.add_generation_prompt is not None:
        variables["add_generation_prompt"] = parameters.add_generation_prompt
    grammar = await asyncio.to_thread(_grammar, text, parameters)
    # A long conversation takes a while to encode; the other streams go on meanwhile.
    rendered = await asyncio.to_thread(_rendered, text, messages, tools, variables)
    inside: Kind = "said"
    if parameters.continue_final_message:
        inside = "thought" if _thinks(messages[-1].text, dialect) else "said"
    elif dialect.thinking is not None and rendered.rstrip().endswith(dialect.thinking[0]):
        inside = "thought"
        if grammar and (parameters.schema is not None or parameters.must_call):
            # An answer that is a document begins at once.
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


def _effort(text: Text, parameters: ChatParameters) -> dict[str, Any]:
    """``reasoning_effort`` as a variable of the template. "none" is also what a template can do that has a
    switch for thinking, and a model that does not think."""
    effort = parameters.reasoning_effort
    if effort == "none" and not text.looks_at("reasoning_effort"):
        if text.looks_at("enable_thinking"):
            return {"enable_thinking": False}
        if text.dialect.thinking is None:
            return {}
    return {} if effort is None else {"reasoning_effort": effort}


def _rendered(text: Text, messages: Sequence[Message], tools: list[Any], variables: dict[str, Any]) -> str:
    """Raises `ApiFault`, also where the template passes over somebody's ``name``."""
    said = [message.for_template() for message in messages]
    rendered = text.render_chat(said, tools, **variables)
    for role in sorted({m.role for m in messages if m.name is not None and m.role != "tool"}):
        index = next(i for i, m in enumerate(messages) if m.role == role and m.name is not None)
        nameless = [
            {key: value for key, value in one.items() if key != "name" or message.role != role}
            for one, message in zip(said, messages, strict=True)
        ]
        if text.render_chat(nameless, tools, **variables) == rendered:
            raise _lacks(f"messages[{index}].name", f"this model's chat template has no names of a {role}")
    return rendered


def _thinks(begun: str, dialect: Dialect) -> bool:
    """An answer that goes on with ``begun`` is in the middle of its thinking."""
    if dialect.thinking is None:
        return False
    start, end = dialect.thinking
    return start in begun and end not in begun.rpartition(start)[2]


def _grammar(text: Text, parameters: ChatParameters) -> str:
    """What the answer follows; "" where it is free. Raises `ApiFault`."""
    schema, offered = parameters.schema, parameters.offered
    if parameters.must_call:
        return grammar_of(_calls_of(offered), "tools")
    strict = next(
        (n for n, tool in enumerate(parameters.tools) if tool in offered and tool.function.strict), None
    )
    if not offered or (schema is None and strict is None):
        return "" if schema is None else grammar_of(schema, "response_format")
    dialect, field = text.dialect, f"tools[{strict}].function.strict" if schema is None else "response_format"
    if dialect.calls is None or not dialect.json_calls:
        reason = "only where the model's calls are plain JSON, which this one's are not"
        raise _lacks(field, reason if schema is None else f"with tools {reason}")
    start, end = dialect.calls
    marks = CallMarks(
        start=start,
        end=end,
        start_token=text.mark_token(start),
        end_token=text.mark_token(end),
        others=tuple(n for mark in dialect.thinking or () if (n := text.mark_token(mark)) is not None),
    )
    return grammar_with_calls(_calls_of(offered, only_strict=schema is None), marks, field, answer=schema)


def _calls_of(tools: Sequence[Tool], *, only_strict: bool = False) -> dict[str, Any]:
    """The schema of a call of one of ``tools``; ``only_strict``: the others' arguments are any object."""
    functions = [tool.function for tool in tools]
    return calls_of({f.name: f.parameters if f.strict or not only_strict else None for f in functions})


def _lacks(param: str, reason: str) -> ApiFault:
    return invalid(f"{param}: {reason}", param=param, code="unsupported_parameter")
