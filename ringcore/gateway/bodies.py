"""From a request's body to its typed fields. Every field is honoured or refused by its name.

Owns what other servers' fields are good for, which fields go together, and the words of a refusal. Knows
nothing of the model.
"""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from ringcore.gateway.errors import ApiFault, invalid
from ringcore.gateway.parameters import ChatParameters, Common, CompletionParameters
from ringcore.spec.engine import MAX_TOP_LOGPROBS

# Fields of OpenAI's and other servers' that are not honoured, with the values that ask for nothing, or for
# what is done anyway. `user` and `safety_identifier` name the caller, `prompt_cache_key` says where a prefix
# may be held: no answer hangs on them anywhere.
_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "echo": (False,),
    "suffix": ("",),
    "function_call": ("none", "auto"),
    "metadata": ({},),
    "verbosity": ("medium",),
    "cache_prompt": (True,),
    "ignore_eos": (False,),
    "min_tokens": (0,),
    "skip_special_tokens": (True,),
    "timings_per_token": (False,),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none",),
    "parallel_tool_calls": (True, False),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
_AS_IT_IS = ("schema", "parameters")  # JSON schemas: there, null is a value
_PATH = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*?)(?:\[\.\.\.\])?`$")
_UNKNOWN = re.compile(r"unknown field `([^`]*)`")


_P = TypeVar("_P", bound=Common)


def parse(body: bytes, kind: type[_P]) -> _P:
    """Raises `ApiFault` 400 that names the field, what was expected and what came."""
    try:
        raw: Any = _without_nothing(msgspec.json.decode(body))
    except RecursionError as error:
        raise invalid("the body is nested too deeply") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise invalid(f"the body is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise invalid("the body must be a JSON object")
    fields: dict[str, Any] = dict(raw)
    _drop_empty(fields.get("messages"))
    for name, neutral in _NEUTRAL.items():
        if name in kind.__struct_fields__:
            continue
        if name in fields and not any(_same(fields[name], value) for value in neutral):
            raise _unsupported(name, f"{fields[name]!r:.80}")
        fields.pop(name, None)
    try:
        parameters = msgspec.convert(fields, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise _wrong_field(str(error)) from error
    _check_together(parameters)
    return parameters


def _drop_empty(messages: Any) -> None:
    """What OpenAI's own answers have beside the text, when a client sends them back: nothing is in it."""
    for message in messages if isinstance(messages, list) else ():
        if isinstance(message, dict):
            for name, empty in (("annotations", []), ("refusal", ""), ("tool_calls", [])):
                if message.get(name) == empty:
                    del message[name]


def _without_nothing(value: Any) -> Any:
    """``null`` means what leaving the field out means."""
    if isinstance(value, dict):
        return {
            str(key): item if key in _AS_IT_IS else _without_nothing(item)
            for key, item in value.items()
            if item is not None
        }
    if isinstance(value, list):
        return [_without_nothing(item) for item in value]
    return value


def _same(value: Any, neutral: Any) -> bool:
    # Python takes False for 0, but `logprobs: 0` asks for something.
    return value == neutral and isinstance(value, bool) == isinstance(neutral, bool)


def _check_together(parameters: Common) -> None:
    if parameters.stream_options is not None and not parameters.stream:
        raise invalid("stream_options is only for stream: true", param="stream_options")
    if isinstance(parameters, ChatParameters) and parameters.top_logprobs and not parameters.logprobs:
        raise invalid("top_logprobs is only for logprobs: true", param="top_logprobs")
    if parameters.return_progress and not parameters.stream:
        raise invalid("return_progress is only for stream: true", param="return_progress")
    if isinstance(parameters, CompletionParameters):
        _check_completion(parameters)
    if isinstance(parameters, ChatParameters):
        _check_chat(parameters)
    both = {parameters.max_tokens, parameters.max_completion_tokens} - {None}
    if len(both) > 1:
        raise invalid("max_tokens and max_completion_tokens differ; give one of them", param="max_tokens")


def _check_completion(parameters: CompletionParameters) -> None:
    if parameters.logprobs is True:
        raise invalid(f"logprobs: a number from 0 to {MAX_TOP_LOGPROBS} here, not true", param="logprobs")
    if parameters.best_of not in (None, parameters.n):
        raise _unsupported("best_of", f"{parameters.best_of} with n {parameters.n}")
    if parameters.echo and parameters.asked_logprobs is not None:
        # The ring computes no logits for the tokens of a prompt.
        raise _unsupported("echo", "true with logprobs")


def _check_chat(parameters: ChatParameters) -> None:
    for index, message in enumerate(parameters.messages):
        message.check(f"messages[{index}]")
    if parameters.tool_choice not in (None, "none") and not parameters.tools:
        raise invalid("tool_choice is only for tools", param="tool_choice")
    if parameters.must_call and not parameters.offered:
        raise invalid("tool_choice: no tool of that name is among tools", param="tool_choice")
    wanted = parameters.response_format
    if wanted is not None and (wanted.type == "json_schema") != (wanted.json_schema is not None):
        raise invalid(
            "response_format: json_schema belongs to the type json_schema",
            param="response_format.json_schema",
        )
    if parameters.schema is not None and parameters.must_call:
        raise invalid(
            "response_format and a tool that must be called exclude each other", param="response_format"
        )
    if parameters.conversation_id is not None and parameters.n > 1:
        raise invalid("a conversation goes on with one answer: n must be 1", param="n")
    if parameters.continue_final_message:
        _check_continued(parameters)


def _check_continued(parameters: ChatParameters) -> None:
    if parameters.add_generation_prompt:
        raise invalid(
            "add_generation_prompt opens an answer, continue_final_message goes on with one: one of them",
            param="add_generation_prompt",
        )
    if parameters.messages[-1].role != "assistant" or not parameters.messages[-1].text:
        raise invalid(
            "continue_final_message: the last message must be an assistant's, with text",
            param="continue_final_message",
        )
    if parameters.schema is not None or parameters.must_call or parameters.conversation_id is not None:
        raise invalid(
            "continue_final_message goes with no format, no tool that must be called and no conversation",
            param="continue_final_message",
        )


def _unsupported(name: str, value: str = "") -> ApiFault:
    shown = f"{name}: {value}" if value else f"'{name}'"
    return invalid(f"{shown} is not supported by this server", param=name, code="unsupported_parameter")


def _wrong_field(text: str) -> ApiFault:
    """msgspec's message with the field in front, as OpenAI's clients expect it."""
    path = match[1] if (match := _PATH.search(text)) else ""
    if unknown := _UNKNOWN.search(text):
        return _unsupported(f"{path}.{unknown[1]}" if path else unknown[1])
    if missing := re.search(r"missing required field `([^`]*)`", text):
        name = f"{path}.{missing[1]}" if path else missing[1]
        return invalid(f"'{name}' is missing", param=name, code="missing_required_parameter")
    reason = _PATH.sub("", text)
    return invalid(f"{path}: {reason}" if path else reason, param=path or None, code="invalid_value")
