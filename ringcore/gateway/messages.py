"""Messages and tools of a chat as typed values, and as the model's template wants them.

Owns their fields. Knows nothing of tokens.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from ringcore.gateway.errors import invalid

MAX_TOOLS = 128


class TextPart(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["text"]
    text: str


class CalledFunction(Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    arguments: str = "{}"


class ToolCall(Struct, frozen=True, forbid_unknown_fields=True):
    """``index``: the place that it had in a stream. Clients that put a stream together send it back."""

    function: CalledFunction
    id: str = ""
    type: Literal["function"] = "function"
    index: int | None = None


class Message(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``developer`` is another word for ``system``. ``tool_calls`` and ``reasoning_content`` are an
    assistant's, ``tool_call_id`` is a tool's."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content or ())

    @property
    def said(self) -> tuple[Any, ...]:
        """The same for a message and for what a client sends of it later: without its thinking, with its text
        in one piece or in parts."""
        role = "system" if self.role == "developer" else self.role
        calls = [(c.id, c.function.name, _object(c.function.arguments)) for c in self.tool_calls or ()]
        return role, self.text, self.name, self.tool_call_id, calls

    def check(self, at: str) -> None:
        """Raises `ApiFault` for fields that do not belong together."""
        speaks = self.role == "assistant"
        if self.content is None and not (speaks and (self.tool_calls or self.reasoning_content)):
            raise invalid(
                f"'{at}.content' is missing", param=f"{at}.content", code="missing_required_parameter"
            )
        for field in ("tool_calls", "reasoning_content"):
            if getattr(self, field) is not None and not speaks:
                raise invalid(f"{at}.{field}: only an assistant has that", param=f"{at}.{field}")
        if self.tool_call_id is not None and self.role != "tool":
            raise invalid(f"{at}.tool_call_id: only a tool has that", param=f"{at}.tool_call_id")

    def for_template(self) -> dict[str, Any]:
        """As transformers' templates know it: arguments of calls are objects there."""
        role = "system" if self.role == "developer" else self.role
        found: dict[str, Any] = {"role": role, "content": self.text}
        for field in ("name", "tool_call_id", "reasoning_content"):
            if (value := getattr(self, field)) is not None:
                found[field] = value
        if self.tool_calls:
            found["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": _object(call.function.arguments)},
                }
                for call in self.tool_calls
            ]
        return found


class Function(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["function"]
    function: Function

    def for_template(self) -> dict[str, Any]:
        function = {
            "name": self.function.name,
            "description": self.function.description or "",
            "parameters": self.function.parameters or {"type": "object", "properties": {}},
        }
        return {"type": "function", "function": function}


class ChosenFunction(Struct, frozen=True, forbid_unknown_fields=True):
    name: str


class ChosenTool(Struct, frozen=True, forbid_unknown_fields=True):
    type: Literal["function"]
    function: ChosenFunction


ToolChoice = Literal["none", "auto", "required"] | ChosenTool


def _object(text: str) -> Any:
    if not text.strip():
        return {}  # a call of a tool without parameters, as some clients send it back
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError):
        return text  # a template that writes it as it is can cope with what a model made up
