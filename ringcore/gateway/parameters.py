"""The fields of a request's body as typed values. Every field is honoured or refused by its name.

Owns names, types and bounds. Knows nothing of the model: what depends on it (context, vocabulary)
is checked where that is known.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from ringcore.gateway.errors import ApiFault, invalid
from ringcore.gateway.messages import MAX_TOOLS, ChosenTool, Message, Tool, ToolChoice
from ringcore.spec.engine import MAX_REPETITION_CONTEXT, MAX_TOP_LOGPROBS, LogitBias, Sampling

MAX_BODY_BYTES = 8 << 20
MAX_CHOICES = 32  # of one request; LangChain sends up to 20 prompts in one

_Count = Annotated[int, Meta(ge=1)]
_Stop = Annotated[str, Meta(min_length=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Top = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]

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


class StreamOptions(Struct, frozen=True, forbid_unknown_fields=True):
    include_usage: bool = False


class Common(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What chat and completions share. ``temperature`` is 0 (greedy) unless the client asks otherwise, and
    ``top_k`` 0 and -1 are no bound. ``return_progress`` (llama.cpp's): a stream tells how far a prompt is.

    ``presence_penalty`` and ``frequency_penalty`` count the tokens of the answer, as OpenAI's do.
    ``repetition_penalty`` and its context, in tokens of prompt and answer, are mlx-lm's.
    """

    model: str = ""
    stream: bool = False
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] = 1
    max_tokens: _Count | None = None
    max_completion_tokens: _Count | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    top_k: Annotated[int, Meta(ge=-1)] = 0
    min_p: Annotated[float, Meta(ge=0, le=1)] = 0.0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0, le=10)] = 1.0
    repetition_context_size: Annotated[int, Meta(ge=1, le=MAX_REPETITION_CONTEXT)] = 20
    presence_penalty: _Penalty = 0.0
    frequency_penalty: _Penalty = 0.0
    logit_bias: LogitBias = {}
    stop: _Stop | Annotated[list[_Stop], Meta(max_length=16)] | None = None
    return_progress: bool = False
    user: str = ""
    safety_identifier: str = ""
    prompt_cache_key: str = ""

    @property
    def sampling(self) -> Sampling:
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=max(0, self.top_k),
            min_p=self.min_p,
            seed=self.seed,
            repetition_penalty=self.repetition_penalty,
            repetition_context=self.repetition_context_size,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            logit_bias=self.logit_bias,
            logprobs=self.asked_logprobs,
        )

    @property
    def asked_logprobs(self) -> int | None:
        """How many of the likeliest tokens are wanted beside each of the answer; None: no logprobs."""
        return None

    @property
    def stops(self) -> tuple[str, ...]:
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())

    @property
    def limit(self) -> int | None:
        """Tokens the client allows for the answer, under either name."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class JsonSchema(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"value": "schema"}):
    """``strict`` asks for what is done anyway: the answer follows the schema."""

    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    value: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatParameters(Common, frozen=True, kw_only=True):
    """``chat_template_kwargs`` and ``reasoning_effort`` are variables of the model's template.
    ``conversation_id`` puts the messages behind those that the gateway holds under that name.
    ``continue_final_message``: the answer goes on with the last message, an assistant's, and leaves out what
    that says; without ``add_generation_prompt`` the template does not open an answer. Both are vLLM's."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    logprobs: bool = False
    top_logprobs: _Top | None = None
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool], Meta(max_length=MAX_TOOLS)] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool = True
    reasoning_effort: Annotated[str, Meta(max_length=32)] | None = None
    chat_template_kwargs: dict[str, Any] = {}
    add_generation_prompt: bool | None = None
    continue_final_message: bool = False
    conversation_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._:-]{1,128}$")] | None = None

    @property
    def asked_logprobs(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None

    @property
    def offered(self) -> list[Tool]:
        """The tools that the model may call."""
        if self.tool_choice == "none":
            return []
        if isinstance(self.tool_choice, ChosenTool):
            return [t for t in self.tools if t.function.name == self.tool_choice.function.name]
        return self.tools

    @property
    def must_call(self) -> bool:
        return self.tool_choice is not None and self.tool_choice not in ("none", "auto")

    @property
    def schema(self) -> dict[str, Any] | None:
        """What ``response_format`` wants the answer to be."""
        wanted = self.response_format
        if wanted is None or wanted.type == "text":
            return None
        return wanted.json_schema.value if wanted.json_schema is not None else {"type": "object"}


class CompletionParameters(Common, frozen=True, kw_only=True):
    """``prompt``: one text, several, or the token ids of one or several. ``echo``: the answer begins with it.
    ``best_of`` answers are drawn and all ``n`` of them given back: the two must be the same."""

    prompt: str | list[str | int | list[int]]
    logprobs: _Top | bool | None = None
    echo: bool = False
    best_of: _Count | None = None

    @property
    def asked_logprobs(self) -> int | None:
        return None if isinstance(self.logprobs, bool) else self.logprobs


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
