"""Dialogs over the panes that need little: what changes something asks, help lists the keys."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from console.screen.actions import ACTIONS, Scope
from console.screen.banner import failure_text
from ringcore.spec.errors import Failure

_SCOPES: dict[Scope, str] = {
    "app": "Everywhere",
    "hosts": "In Hosts",
    "logs": "In Logs",
    "prompt": "In Prompt",
}


class Confirm(ModalScreen[bool]):
    """Asks before something is done; answers True when it shall be. Cancel is in focus."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "no"),
        Binding("y", "yes"),
        Binding("left,right", "other"),
    ]

    def __init__(self, title: str, text: str, yes: str, *, harmful: bool = False) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._yes = yes
        self._harmful = harmful

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = Content(self._title)
            box.border_subtitle = f"y {self._yes.split()[0].lower()}  esc cancel"
            yield Static(Content(self._text), markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="no", compact=True)
                yield Button(
                    self._yes, variant="error" if self._harmful else "primary", id="yes", compact=True
                )

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_yes(self) -> None:
        self.dismiss(True)

    def action_no(self) -> None:
        self.dismiss(False)

    def action_other(self) -> None:
        self.focus_next()


class ConfirmStop(Confirm):
    def __init__(self, ring: str, busy: str) -> None:
        also = f"{busy} is broken off. " if busy else ""
        super().__init__(
            f"Stop the ring {ring}?",
            f"{also}Ranks, gateway and agents end on every host; answers on their way break off.",
            "Stop the ring",
            harmful=True,
        )


class Reading(ModalScreen[None]):
    """A text to read and to close."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,enter,question_mark", "close")]
    HEAD = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog reading", can_focus=True) as box:
            box.border_title = Content(self.HEAD)
            box.border_subtitle = "esc close"
            yield Static(self.text(), markup=False)

    def text(self) -> Content:
        raise NotImplementedError

    def action_close(self) -> None:
        self.dismiss(None)


class Why(Reading):
    """A failure in full: host by host, remedy by remedy."""

    HEAD = "What failed"

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self._failure = failure

    def text(self) -> Content:
        return failure_text(self._failure)


class Help(Reading):
    HEAD = "Keys"

    def text(self) -> Content:
        parts: list[str | tuple[str, str]] = []
        for scope, head in _SCOPES.items():
            parts.append((f"{head}\n", "bold"))
            for action in ACTIONS:
                if action.scope == scope:
                    parts += [(f"  {action.key:<7}", "bold $text-accent"), f"{action.help}\n"]
            parts.append("\n")
        return Content.assemble(
            *parts,
            ("Reading the panes\n", "bold"),
            "  A rank is its digit on its colour. Layers are inclusive: 9..17 is nine layers.\n",
            "  Layer map: solid = at work, tinted = loaded, bare = planned, x = its rank failed.\n",
            "  Logs: ‹ and › mark a line that goes on; left and right move along it.\n",
            "  Logs: time, rank, who (blank the rank, a agent, g gateway, c console), level, text.\n",
            "  Split: the boundary between ▸ and ▸ moves; + and - say what that does to tokens a second.\n",
            "  Prompt: enter sends, ctrl+j begins a new line, up and down bring back earlier questions.\n",
            "  j and k move as down and up do in hosts and logs; g and G go to the ends of the logs.\n",
            "  Mouse: click a pane, tab, host or key; drag over log lines and press c to copy.\n",
        )
