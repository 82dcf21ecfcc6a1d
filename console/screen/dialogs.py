"""The dialogs over the panes: stop asks, help lists the keys, details tell all of one host."""

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from console.logs.text import safe_line, safe_text
from console.screen.actions import ACTIONS, Scope
from console.screen.panes.hosts import host_state, way_up
from console.screen.panes.memory import memory_lines
from console.screen.picture import Picture
from console.screen.theme import BAD, DIM, badge
from console.state import STEPS

_SCOPES: dict[Scope, str] = {
    "app": "Everywhere",
    "hosts": "In Hosts",
    "logs": "In Logs",
    "prompt": "In Prompt",
}


class ConfirmStop(ModalScreen[bool]):
    """Answers True when the ring shall end."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "no"),
        Binding("y", "yes"),
        Binding("left,right", "other"),
    ]

    def __init__(self, ring: str, busy: str) -> None:
        super().__init__()
        self._ring = ring
        self._busy = busy

    def compose(self) -> ComposeResult:
        also = f"{self._busy} is broken off. " if self._busy else ""
        text = f"{also}Ranks, gateway and agents end on every host; answers on their way break off."
        with Vertical(classes="dialog") as box:
            box.border_title = Content(f"Stop the ring {self._ring}?")
            box.border_subtitle = "y stop  esc cancel"
            yield Static(Content(text), markup=False)
            with Horizontal(classes="buttons"):
                yield Button("Cancel", id="no", compact=True)
                yield Button("Stop the ring", variant="error", id="yes", compact=True)

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


class _Reading(ModalScreen[None]):
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


class Help(_Reading):
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
            "  Mouse: click a pane, tab, host or key; drag over log lines and press c to copy.\n",
        )


class HostDetails(_Reading):
    """Everything the console knows of one host, as of the moment it was opened."""

    def __init__(self, picture: Picture, rank: int) -> None:
        super().__init__()
        self._picture = picture
        self._host = picture.state.hosts[rank]
        self.HEAD = f"Rank {rank}  {safe_line(self._host.name)}"

    def text(self) -> Content:
        host, stage = self._host, self._picture.stage(self._host.rank)
        state, _ = host_state(host, host.rank in self._picture.working)
        lines: list[tuple[str, str]] = [
            ("way up", f"{way_up(host)}  {' › '.join(STEPS)}"),
            ("now", state),
            ("doing", host.detail),
            ("command", host.command),
            ("rank", f"{host.phase or 'not started'}" + (f", pid {host.pid}" if host.pid else "")),
        ]
        if stage is not None:
            shard = stage.shard
            ends = ", embedding" * shard.is_first + ", norm and head" * shard.is_last
            lines.append(("layers", f"{shard.start}..{shard.end - 1}, {shard.count} of {shard.total}{ends}"))
        if host.count is not None:
            rate = f"{host.step_rate:.1f}/s, busy {host.busy_share:.0%}, link {host.link_share:.0%}"
            lines.append(("steps", f"{host.steps}, last {rate}"))
            lines.append(("tokens", f"{host.count.tokens}, steps in flight {host.count.in_flight}"))
        lines += memory_lines(host, stage)
        lines.append(("journal", f"read up to event {host.last_seq}"))
        parts: list[Content] = [Content.assemble(badge(host.rank), f" {safe_line(host.name)}")]
        if host.failure is not None:
            parts.append(Content.styled(f"failed     {safe_text(host.failure.cause)}", f"bold {BAD}"))
            if host.failure.remedy:
                parts.append(Content.assemble(("remedy     ", "bold"), safe_text(host.failure.remedy)))
        parts += [Content.assemble((f"{name:<10} ", DIM), safe_text(value)) for name, value in lines if value]
        return Content("\n").join(parts)
