"""Two lines of the frame: tabs where one pane is seen at a time, and the keys at the bottom."""

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.content import Content
from textual.events import Click, Resize
from textual.widgets import Static

from console.screen.actions import ACTIONS, Action
from console.screen.layout import PANES, TITLES
from console.screen.messages import ActRequested, PaneChosen
from console.screen.picture import Picture
from console.screen.theme import DIM


class Tab(Static):
    def __init__(self, name: str) -> None:
        super().__init__(Content(f" {PANES.index(name) + 1} {TITLES[name]} "), markup=False)
        self.pane = name

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(PaneChosen(self.pane))


class Tabs(Horizontal):
    def __init__(self) -> None:
        super().__init__(id="tabs")
        self._tabs = [Tab(name) for name in PANES]

    def compose(self) -> ComposeResult:
        yield from self._tabs

    def choose(self, name: str) -> None:
        for tab in self._tabs:
            tab.set_class(tab.pane == name, "chosen")


class Key(Static):
    """One key and its label; dim while the action makes no sense. A click does it, or says why not."""

    def __init__(self, action: Action) -> None:
        super().__init__(markup=False)
        self.act = action
        self._off: bool | None = None

    def show(self, off: bool) -> None:
        if off != self._off:
            self._off = off
            style = DIM if off else ""
            key = f"{DIM} strike" if off else "bold $text-accent"
            self.update(Content.assemble((f" {self.act.key}", key), (f" {self.act.label} ", style)))

    def on_click(self, event: Click) -> None:
        event.stop()
        self.post_message(ActRequested(self.act.id))


class KeyBar(Horizontal):
    """The hints that fit, the more important ones first to stay."""

    def __init__(self) -> None:
        super().__init__(id="keys")
        shown = [action for action in ACTIONS if action.footer]
        self._lead = Static(markup=False, classes="lead")
        self._way_out = ""
        self._keys = [Key(action) for action in sorted(shown, key=lambda action: action.footer)]
        self._order = [action.id for action in shown]

    def compose(self) -> ComposeResult:
        by_id = {key.act.id: key for key in self._keys}
        yield self._lead
        yield from (by_id[name] for name in self._order)

    def typing(self, way_out: str) -> None:
        """Letters go into an input now, not to these keys: ``way_out`` leaves it. Empty: they come here."""
        if way_out != self._way_out:
            self._way_out = way_out
            self._lead.update(Content(f" {way_out}, then" if way_out else ""))
            self._fit(self.size.width)

    def on_resize(self, event: Resize) -> None:
        self._fit(event.size.width)

    def _fit(self, room: int) -> None:
        room -= len(f" {self._way_out}, then") if self._way_out else 0
        for key in self._keys:
            room -= len(key.act.key) + len(key.act.label) + 3
            key.display = room >= 0

    def show(self, picture: Picture) -> None:
        for key in self._keys:
            key.show(bool(key.act.why_not(picture)))
