"""What one choice of a chat has said: its text, its thinking, and its calls of tools.

Takes pieces of raw text, gives what a client is told of each, in the fields of OpenAI's messages. Knows
nothing of tokens or streams.
"""

import uuid
from collections.abc import Sequence
from typing import Any

from ringcore.gateway.dialect import Dialect
from ringcore.gateway.generate import Piece
from ringcore.gateway.sections import Marks, Part, Sections


class Turn:
    """``tools`` are those that may be called, as the template got them. ``one_call``: the first is enough."""

    def __init__(self, dialect: Dialect, marks: Marks, tools: Sequence[Any], *, one_call: bool) -> None:
        self.content = ""
        self.thought = ""
        self.calls: list[dict[str, Any]] = []
        self._dialect = dialect
        self._marks = marks
        self._tools = tools
        self._one_call = one_call
        split = marks.thinking or marks.calls or marks.noise or marks.inside != "said"
        self._sections = Sections(marks) if split else None

    @property
    def enough(self) -> bool:
        """It has made the one call that it may make."""
        return self._one_call and bool(self.calls)

    def take(self, piece: Piece) -> list[dict[str, Any]]:
        """The deltas that come of ``piece``: what to add to the message, in order."""
        if self._sections is None:
            parts = [Part("said", piece.text)] if piece.text else []
        else:
            parts = self._sections.push(piece.text)
            if piece.finish_reason:
                parts += self._sections.flush()
        deltas: list[dict[str, Any]] = []
        for part in parts:
            if not self.enough:
                deltas += self._delta(part)
        return deltas

    def reason(self, ended: str) -> str:
        return "tool_calls" if self.calls and ended == "stop" else ended

    def message(self) -> dict[str, Any]:
        """The whole of it, as an answer that is not streamed has it."""
        found: dict[str, Any] = {"role": "assistant", "content": self.content}
        if self.thought:
            found["reasoning_content"] = self.thought
        if self.calls:
            found |= {"content": self.content or None, "tool_calls": self.calls}
        return found

    def _delta(self, part: Part) -> list[dict[str, Any]]:
        if part.kind == "thought":
            self.thought += part.text
            return [{"reasoning_content": part.text}]
        if part.kind == "said":
            self.content += part.text
            return [{"content": part.text}]
        calls = self._dialect.read(part.text, self._tools)
        if not calls:
            # What the model wrote between the marks is no call: then it is text, and nothing is lost.
            start, end = self._marks.calls or ("", "")
            self.content += (text := start + part.text + end)
            return [{"content": text}]
        deltas: list[dict[str, Any]] = []
        for call in calls[: 1 if self._one_call else None]:
            function = {"name": call.name, "arguments": call.arguments}
            told = {"id": call.id or f"call_{uuid.uuid4().hex}", "type": "function", "function": function}
            deltas.append({"tool_calls": [{"index": len(self.calls), **told}]})
            self.calls.append(told)
        return deltas
