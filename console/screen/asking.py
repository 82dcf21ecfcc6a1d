"""Dialogs of a verb at work: is this the host's key, what is the passphrase, may this be replaced.

Knows who asks as `console.ports.Asker`; keeps no answer. What a host supplies is shown as plain text.
"""

import asyncio
from typing import ClassVar, TypeVar

from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from console.logs.text import safe_line
from console.ports import HostKeyShown, SecretWanted

T = TypeVar("T")


class ScreenAsker:
    """See `console.ports.Asker`. ``app`` is set once there is one."""

    def __init__(self) -> None:
        self.app: App[None] | None = None

    async def trust(self, shown: HostKeyShown) -> bool:
        return bool(await self._ask(TrustKey(shown)))

    async def agree(self, question: str) -> bool:
        return bool(await self._ask(Agree(question)))

    async def secret(self, wanted: SecretWanted) -> str | None:
        return await self._ask(TypeSecret(wanted))

    async def _ask(self, dialog: ModalScreen[T]) -> T | None:
        if self.app is None or not self.app.is_running:
            return None
        answered: asyncio.Future[T | None] = asyncio.get_running_loop().create_future()

        def answer(value: T | None) -> None:
            if not answered.done():
                answered.set_result(value)

        await self.app.push_screen(dialog, answer)
        try:
            return await answered
        finally:
            if not answered.done() or answered.cancelled():
                dialog.dismiss()  # what asked was broken off


class _YesOrNo(ModalScreen[bool]):
    """Answers True for yes. ``HEAD`` and ``YES`` are this program's own words, the text is anybody's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)"),
        Binding("y", "answer(True)"),
        Binding("left,right", "app.focus_next"),
    ]
    YES = "Yes"

    def __init__(self, head: str, text: str) -> None:
        super().__init__()
        self._head, self._text = head, text

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog reading") as box:
            box.border_title = Content(self._head)
            box.border_subtitle = "y yes  esc no"
            yield Static(Content(self._text), markup=False)
            with Horizontal(classes="buttons"):
                yield Button("No", id="no", compact=True)
                yield Button(self.YES, variant="warning", id="yes", compact=True)

    def on_mount(self) -> None:
        self.query_one("#no").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        self.dismiss(yes)


class TrustKey(_YesOrNo):
    """Answers True when the key is the host's."""

    YES = "Yes, trust it"

    def __init__(self, shown: HostKeyShown) -> None:
        super().__init__(
            f"Is this the key of {safe_line(shown.host)}?",
            f"Nobody has vouched for {safe_line(shown.server)} yet. It shows\n\n"
            f"  {shown.algorithm} {shown.fingerprint}\n\n"
            "On the host itself, ssh-keygen -lf of /etc/ssh/ssh_host_*_key.pub shows what it "
            "should be. Yes keeps it in known_hosts.",
        )


class Agree(_YesOrNo):
    """Answers True when the operator agrees."""

    def __init__(self, question: str) -> None:
        super().__init__("Go on?", safe_line(question))


class TypeSecret(ModalScreen[str]):
    """Answers with what was typed; None when it was left with escape."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave")]

    def __init__(self, wanted: SecretWanted) -> None:
        super().__init__()
        self._wanted = wanted

    def compose(self) -> ComposeResult:
        wanted = self._wanted
        what = {"passphrase": "Passphrase", "password": "Password", "answer": "Question"}[wanted.kind]
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"{what} for {safe_line(wanted.host)}")
            box.border_subtitle = "enter ok  esc cancel"
            text = safe_line(wanted.of)
            if wanted.kind == "answer":
                text += f" asks: {safe_line(wanted.prompt.strip())}"
            if wanted.again:
                text = f"That was not right. {text}"
            yield Static(Content(text), markup=False)
            yield Input(password=not wanted.echo, compact=True)

    def on_mount(self) -> None:
        self.query_one(Input).focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)
