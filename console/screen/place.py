"""Where the operator is: which pane has the focus, and which panes are seen at this size of the terminal.

Joins the panes with the lines above and below them; decides no layout (`console.screen.layout`).
"""

from collections.abc import Callable

from textual.app import App
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Input, TextArea

from console.screen.bars import KeyBar, Tabs
from console.screen.body import Body

WAYS_OUT = {"logs": "enter", "prompt": "tab"}  # of the inputs, by pane


class Place:
    """``changed`` is called when a pane was shown that may have old things on it."""

    def __init__(
        self, app: App[None], body: Body, tabs: Tabs, keys: KeyBar, changed: Callable[[], None]
    ) -> None:
        self._app = app
        self._body = body
        self._tabs = tabs
        self._keys = keys
        self._changed = changed

    def arrange(self, size: Size | None = None) -> None:
        """Show what fits. ``size``: of the terminal, where the app does not know it yet."""
        width, height = size or self._app.size
        self._tabs.display = self._body.lay_out(width, height) == "one"
        self._tabs.choose(self._body.chosen)

    def go(self, name: str) -> None:
        self._body.chosen = name
        self.arrange()
        self._body.focus_chosen()
        self._changed()

    def go_beside(self, by: int) -> None:
        """``by`` panes on; in what lies over them, to what takes keys next."""
        if len(self._app.screen_stack) == 1:
            self.go(self._body.beside(by))
        elif by > 0:
            self._app.screen.focus_next()
        else:
            self._app.screen.focus_previous()

    def came(self, widget: Widget) -> None:
        """The focus came to ``widget``, with a click or by itself."""
        name = self._body.holding(widget)
        self._keys.typing(WAYS_OUT.get(name or "", "") if isinstance(widget, Input | TextArea) else "")
        if name is not None and self._body.chosen != name:
            self._body.chosen = name
            self.arrange()

    def zoom(self) -> None:
        self._body.zoom()
        self.arrange()
        self._changed()
