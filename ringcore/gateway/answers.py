"""The shapes of what the API answers, for its document. The endpoints build them by hand: that is quicker."""

from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from ringcore.gateway.messages import ToolCall


class ErrorDetail(Struct, frozen=True, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str | None


class Error(Struct, frozen=True, kw_only=True):
    """``param`` names the field that is wrong, or not supported."""

    error: ErrorDetail


class PromptTokensDetails(Struct, frozen=True, kw_only=True):
    cached_tokens: int


class Usage(Struct, frozen=True, kw_only=True):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | UnsetType = UNSET


class AnswerMessage(Struct, frozen=True, kw_only=True):
    """``reasoning_content`` is what the model thought, where its template marks that."""

    role: Literal["assistant"]
    content: str | None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCall] | UnsetType = UNSET


class ChatChoice(Struct, frozen=True, kw_only=True):
    index: int
    message: AnswerMessage
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    conversation_id: str | UnsetType = UNSET


class TextChoice(Struct, frozen=True, kw_only=True):
    index: int
    text: str
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length"]


class TextCompletion(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage


class Model(Struct, frozen=True, kw_only=True):
    """``max_model_len``, vLLM's name: tokens of prompt and answer together, while the ring can serve."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int | UnsetType = UNSET


class ModelList(Struct, frozen=True, kw_only=True):
    object: Literal["list"]
    data: list[Model]


class Conversation(Struct, frozen=True, kw_only=True):
    """``messages`` and ``tokens`` are counts; ``last_used`` is in seconds since the Unix epoch."""

    id: str
    object: Literal["conversation"]
    messages: int
    tokens: int
    last_used: int


class ConversationList(Struct, frozen=True, kw_only=True):
    object: Literal["list"]
    data: list[Conversation]


class Forgotten(Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["conversation.deleted"]
    deleted: bool


class Health(Struct, frozen=True, kw_only=True):
    """``live``: the gateway answers. ``ready``: the ring can serve, and moves while requests wait."""

    status: Literal["ok", "unavailable"]
    live: bool
    ready: bool
    model: str
    epoch: int | UnsetType = UNSET
    context: int | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class Live(Struct, frozen=True, kw_only=True):
    status: Literal["ok"]
