"""An answer's text taken apart at the model's marks: thinking, calls of tools, and what is said.

Works on a stream of text however it is cut. Knows nothing of tokens, and does not read the calls.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

Kind = Literal["said", "thought", "call"]


class Part(Struct, frozen=True):
    """A piece of what is said or thought, or the whole text of a call."""

    kind: Kind
    text: str


class Marks(Struct, frozen=True, kw_only=True):
    """Those that count for one answer; see `Dialect`. ``inside``: what the prompt has opened already."""

    thinking: tuple[str, str] | None = None
    calls: tuple[str, str] | None = None
    noise: tuple[str, ...] = ()
    inside: Kind = "said"


class Sections:
    """``push`` pieces; the parts and those of `flush` are the answer without its marks."""

    def __init__(self, marks: Marks) -> None:
        self._marks = marks
        self._kind: Kind = marks.inside
        self._held = ""
        self._call = ""
        self._bare = marks.inside != "said"  # nothing but blanks since a mark

    def push(self, text: str) -> list[Part]:
        parts: list[Part] = []
        text, self._held = self._held + text, ""
        while text:
            at, mark = _first(text, self._ends())
            if mark:
                self._add(text[:at], parts)
                text = text[at + len(mark) :]
                self._turn(mark, parts)
                continue
            keep = _unsure(text, self._ends())
            self._add(text[: len(text) - keep], parts)
            self._held = text[len(text) - keep :]
            break
        return parts

    def flush(self) -> list[Part]:
        """What was held back, and a call that the end of the answer ends."""
        parts: list[Part] = []
        self._add(self._held, parts)
        self._held = ""
        if self._kind == "call":
            self._turn("", parts)
        return parts

    def _ends(self) -> Sequence[str]:
        """The marks that end what is going on."""
        thinking, calls = self._marks.thinking, self._marks.calls
        if self._kind == "thought":
            return (thinking[1],) if thinking else ()
        if self._kind == "call":
            return (calls[1],) if calls and calls[1] else ()
        return tuple(pair[0] for pair in (thinking, calls) if pair) + self._marks.noise

    def _turn(self, mark: str, parts: list[Part]) -> None:
        thinking, calls = self._marks.thinking, self._marks.calls
        if self._kind == "call":
            parts.append(Part("call", self._call))
            self._kind, self._call = "said", ""
        elif self._kind == "thought":
            self._kind = "said"
        elif thinking and mark == thinking[0]:
            self._kind = "thought"
        elif calls and mark == calls[0]:
            self._kind = "call"
        self._bare = True

    def _add(self, text: str, parts: list[Part]) -> None:
        if self._kind == "call":
            self._call += text
            return
        if self._bare:
            text = text.lstrip()
        if text:
            self._bare = False
            parts.append(Part(self._kind, text))


def _first(text: str, marks: Sequence[str]) -> tuple[int, str]:
    found = [(at, -len(mark), mark) for mark in marks if (at := text.find(mark)) >= 0]
    at, _, mark = min(found, default=(-1, 0, ""))
    return at, mark


def _unsure(text: str, marks: Sequence[str]) -> int:
    """Length of the longest end of ``text`` that begins a mark."""
    longest = max((len(mark) - 1 for mark in marks), default=0)
    sizes = range(min(longest, len(text)), 0, -1)
    return next((n for n in sizes if any(mark.startswith(text[-n:]) for mark in marks)), 0)
