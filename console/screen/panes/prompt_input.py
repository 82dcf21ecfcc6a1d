"""Where a question is typed: enter sends it, up and down bring back earlier ones, a paste keeps its lines."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.events import Key, Paste
from textual.message import Message
from textual.widgets import TextArea

from console.logs.text import safe_piece


class PromptInput(TextArea):
    BINDINGS: ClassVar[list[BindingType]] = [
        # Which of the three reaches us is the terminal's choice; ctrl+j always does.
        Binding("ctrl+j,shift+enter,alt+enter", "new_line", show=False),
        Binding("up", "older", show=False),
        Binding("down", "newer", show=False),
        Binding("ctrl+y", "app.act('copy_answer')", show=False),  # a text area would take back an undo
    ]

    class Submitted(Message):
        """Enter was pressed."""

        def __init__(self, value: str) -> None:
            super().__init__()
            self.value = value

    def __init__(self) -> None:
        super().__init__(compact=True, highlight_cursor_line=False)
        self.cursor_blink = False  # a blinking cursor is a timer that never ends
        self._history: list[str] = []
        self._at = 0  # len(history): what is being typed
        self._draft = ""

    def remember(self, value: str) -> None:
        """``value`` was sent: it can be called back, and only what was typed since is left."""
        text = value.strip()
        if not self._history or self._history[-1] != text:
            self._history.append(text)
        self._at = len(self._history)
        self._draft = ""
        self.text = self.text.removeprefix(value)
        self.move_cursor(self.document.end)

    async def _on_key(self, event: Key) -> None:
        """Enter sends, behind the keys before it: a binding would overtake those that wait to be typed."""
        if event.key == "enter":
            event.prevent_default()
            event.stop()
            self.post_message(self.Submitted(self.text))

    async def _on_paste(self, event: Paste) -> None:
        """As it was copied, but for what would move the terminal's cursor."""
        event.prevent_default()
        event.stop()
        self.insert(safe_piece(event.text.replace("\r\n", "\n").replace("\r", "\n")))

    def action_new_line(self) -> None:
        self.insert("\n")

    def action_older(self) -> None:
        if self._row > 0:
            self.action_cursor_up()
        else:
            self._go(self._at - 1)

    def action_newer(self) -> None:
        if self._row < self.wrapped_document.height - 1:
            self.action_cursor_down()
        else:
            self._go(self._at + 1)

    @property
    def _row(self) -> int:
        """Of the cursor on the screen, 0 first."""
        return self.wrapped_document.location_to_offset(self.cursor_location).y

    def _go(self, to: int) -> None:
        if not 0 <= to <= len(self._history):
            return
        if self._at == len(self._history):
            self._draft = self.text
        self._at = to
        self.text = self._draft if to == len(self._history) else self._history[to]
        self.move_cursor(self.document.end)
