"""The line in which a question is typed, with the questions before it on up and down."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import Input


class PromptInput(Input):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "older", show=False),
        Binding("down", "newer", show=False),
    ]

    def __init__(self) -> None:
        super().__init__(compact=True)
        self.cursor_blink = False  # a blinking cursor is a timer that never ends
        self._history: list[str] = []
        self._at = 0  # len(history): what is being typed
        self._draft = ""

    def remember(self, text: str) -> None:
        """``text`` was sent: it can be called back, and the line is empty."""
        if not self._history or self._history[-1] != text:
            self._history.append(text)
        self._at = len(self._history)
        self._draft = ""
        self.value = ""

    def action_older(self) -> None:
        self._go(self._at - 1)

    def action_newer(self) -> None:
        self._go(self._at + 1)

    def _go(self, to: int) -> None:
        if not 0 <= to <= len(self._history):
            return
        if self._at == len(self._history):
            self._draft = self.value
        self._at = to
        self.value = self._draft if to == len(self._history) else self._history[to]
        self.cursor_position = len(self.value)
