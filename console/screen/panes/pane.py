"""What all panes have in common: a numbered border title, hints in the lower border, a width to draw in."""

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import Static

from console.screen.actions import Scope, bindings, hints
from console.screen.layout import PANES, TITLES
from console.screen.picture import Picture


class Pane(Vertical):
    """A bordered part of the screen. Subclasses draw what `show` hands them."""

    NAME = ""
    SCOPE: Scope = "app"
    FRAME_ROWS = 2  # rows of the pane that its `target` does not get

    def __init__(self) -> None:
        super().__init__(id=self.NAME, classes="pane")
        self.set_title("")
        self.border_subtitle = Content(hints(self.SCOPE)) if self.SCOPE != "app" else None
        if self.SCOPE != "app":
            for binding in bindings(self.SCOPE):
                self._bindings.bind(binding.key, binding.action, binding.description, show=False)

    def set_title(self, rest: str) -> None:
        number = PANES.index(self.NAME) + 1
        title = f"{number} {TITLES[self.NAME]}"
        self.border_title = Content(f"{title}  {rest}" if rest else title)

    def limit(self, rows: int | None) -> None:
        """At most so many rows, what does not fit scrolls; None: as many as there are."""
        self.styles.max_height = rows
        self.target.styles.max_height = None if rows is None else max(1, rows - self.FRAME_ROWS)

    def show(self, picture: Picture) -> None:
        """Draw this picture; called at most some ten times a second."""
        raise NotImplementedError

    @property
    def target(self) -> Widget:
        """The widget that gets the focus when the pane is chosen."""
        raise NotImplementedError


class TextPane(Pane):
    """A pane that is one text, drawn anew when the picture or the width changes."""

    def __init__(self) -> None:
        super().__init__()
        self._picture: Picture | None = None
        self._scroll = VerticalScroll(can_focus=True)
        self._body = Static(markup=False)
        self._drawn: Content | None = None

    def compose(self) -> ComposeResult:
        with self._scroll:
            yield self._body

    @property
    def target(self) -> Widget:
        return self._scroll

    def show(self, picture: Picture) -> None:
        self._picture = picture
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self._draw()

    def _draw(self) -> None:
        width = self._scroll.scrollable_content_region.width
        if self._picture is None or not width:
            return
        content = self.draw(self._picture, width)
        if self._drawn is None or not content.is_same(self._drawn):
            self._drawn = content
            self._body.update(content)

    def draw(self, picture: Picture, width: int) -> Content:
        """The whole text for ``width`` cells. Pure."""
        raise NotImplementedError
