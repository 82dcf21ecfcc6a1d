"""The five panes: which of them are seen, which one is chosen and has the focus.

Knows sizes and names; what the panes show is theirs.
"""

from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from console.screen.layout import PANES, Layout, layout_for
from console.screen.panes.pane import Pane
from console.screen.picture import Picture

# Of the left column at most, in parts: eight ranks must leave room for the logs.
SHARES = {"hosts": 0.34, "layers": 0.2, "memory": 0.31}
FRAME_ROWS = 2  # header and keys


class Body(Horizontal):
    """``panes`` in the order of `console.screen.layout.PANES`; the last one stands at the right."""

    def __init__(self, *panes: Pane) -> None:
        assert tuple(pane.NAME for pane in panes) == PANES
        self._left = Vertical(*panes[:-1], id="left")
        super().__init__(self._left, panes[-1], id="body")
        self.panes = {pane.NAME: pane for pane in panes}
        self.chosen = PANES[0]
        self._zoomed = False

    def lay_out(self, width: int, height: int) -> Layout:
        """Show what fits into a terminal of this size; returns the layout that was chosen."""
        layout = layout_for(width, height, self._zoomed)
        one = layout == "one"
        for name in ("one", "grid", "wide"):
            self.set_class(layout == name, f"-{name}")
        for name, pane in self.panes.items():
            pane.display = not one or name == self.chosen
            if name in SHARES:
                pane.limit(None if one else int((height - FRAME_ROWS) * SHARES[name]))
        self._left.display = not one or self.chosen != PANES[-1]
        return layout

    def show(self, picture: Picture) -> None:
        for pane in self.panes.values():
            pane.show(picture)

    def focus_chosen(self) -> None:
        self.panes[self.chosen].target.focus()

    def zoom(self) -> None:
        """Give the chosen pane all of the room, or give it back."""
        self._zoomed = not self._zoomed

    def beside(self, by: int) -> str:
        """Name of the pane ``by`` places after the chosen one, round and round."""
        return PANES[(PANES.index(self.chosen) + by) % len(PANES)]

    def holding(self, widget: Widget) -> str | None:
        """Name of the pane that ``widget`` is in."""
        return next((node.NAME for node in widget.ancestors if isinstance(node, Pane)), None)
