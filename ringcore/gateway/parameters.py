"""The fields of a request's body as typed values.

Owns names, types and bounds. Knows nothing of the model: what depends on it (context, vocabulary)
is checked where that is known.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from ringcore.gateway.messages import MAX_TOOLS, ChosenTool, Message, Tool, ToolChoice
from ringcore.spec.engine import MAX_REPETITION_CONTEXT, MAX_TOP_LOGPROBS, LogitBias, Sampling

MAX_BODY_BYTES = 8 << 20
MAX_CHOICES = 32  # of one request; LangChain sends up to 20 prompts in one

_Count = Annotated[int, Meta(ge=1)]
_Stop = Annotated[str, Meta(min_length=1)]
_Penalty = Annotated[float, Meta(ge=-2, le=2)]
_Top = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]


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
