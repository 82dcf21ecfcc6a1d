"""The lines of a `LogView` on the screen: strips for what is visible only, following or paused.

Knows rows and scrolling; where lines come from and what is filtered is the pane's business.
"""

import time
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style as RichStyle
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from console.logs.store import LogEntry, LogView
from console.screen.theme import INK, rank_color

_LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO ", "WARNING": "WARN ", "ERROR": "ERROR"}
_SOURCES = {"rank": " ", "agent": "a", "gateway": "g", "console": "c"}
_SIDE_STEP = 16  # cells
_WIDE = 74  # from here on there is room for milliseconds


class LogLines(ScrollView, can_focus=True):
    """``following`` keeps the newest line in view; scrolling up ends it, reaching the end resumes it."""

    ALLOW_SELECT = True
    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--time",
        "log--warning",
        "log--error",
        "log--debug",
        "log--found",
        "log--cut",
    }
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("home,g", "home", show=False),
        Binding("G", "scroll_end", show=False),
        Binding("j", "scroll_down", show=False),
        Binding("k", "scroll_up", show=False),
        Binding("pageup", "page_up", show=False),
        Binding("pagedown", "page_down", show=False),
    ]

    class Followed(Message):
        """``following`` changed."""

    def __init__(self, view: LogView) -> None:
        super().__init__()
        self.view = view
        self.following = True
        self._longest = 0

    # content ------------------------------------------------------------------------------------

    def set_view(self, view: LogView) -> None:
        """Another filter over the same store; begins at the newest line, following."""
        self.view = view
        self._longest = 0
        self.virtual_size = Size(self._longest, len(view))
        self.follow(True)
        self.refresh()

    def flush(self) -> None:
        """Show what the store took in since the last call. A paused reader's lines stay where they are."""
        gone = self.view.update()
        self.virtual_size = Size(max(self._longest, self._width), len(self.view))
        if self.following:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
        elif gone:
            self.scroll_to(y=max(0, self.scroll_offset.y - gone), animate=False, immediate=True, force=True)
        self.refresh()

    def visible_numbers(self) -> list[int]:
        """Sequence numbers of the lines in view, top to bottom."""
        top = self.scroll_offset.y
        return [self.view[row] for row in range(top, min(len(self.view), top + self.size.height))]

    def plain(self, number: int) -> str:
        """One line as it is copied: with its full time."""
        entry = self.view.store[number]
        return "".join(text for text, _ in self._parts(entry, milliseconds=True))

    # scrolling ----------------------------------------------------------------------------------

    def follow(self, following: bool) -> None:
        """Keep the newest line in view from now on, or leave the view where it is."""
        if following:
            self.scroll_end(animate=False, immediate=True, x_axis=False, force=True)
        self._note(following)

    def _note(self, following: bool) -> None:
        if following != self.following:
            self.following = following
            self.post_message(self.Followed())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        # Only noted: an animation may be what moves us, and to scroll inside its step would break it.
        if new_value < old_value and new_value < self.max_scroll_y:
            self._note(False)
        elif new_value > old_value and new_value >= self.max_scroll_y:
            self._note(True)

    def action_home(self) -> None:
        self.follow(False)
        self.scroll_home(animate=False)

    def action_scroll_end(self) -> None:
        self.follow(True)

    def action_scroll_left(self) -> None:
        self.scroll_to(x=self.scroll_offset.x - _SIDE_STEP, animate=False)

    def action_scroll_right(self) -> None:
        self.scroll_to(x=self.scroll_offset.x + _SIDE_STEP, animate=False)

    def action_scroll_up(self) -> None:
        self.scroll_to(y=self.scroll_offset.y - 1, animate=False)

    def action_scroll_down(self) -> None:
        self.scroll_to(y=self.scroll_offset.y + 1, animate=False)

    def action_page_up(self) -> None:
        self.scroll_to(y=self.scroll_offset.y - max(1, self.size.height - 1), animate=False)

    def action_page_down(self) -> None:
        self.scroll_to(y=self.scroll_offset.y + max(1, self.size.height - 1), animate=False)

    def on_resize(self) -> None:
        if self.following:
            self.call_after_refresh(self.flush)

    @property
    def _width(self) -> int:
        """Cells for text: what the scrollbar leaves."""
        return self.scrollable_content_region.width

    # drawing ------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        left, top = self.scroll_offset
        row, width, base = top + y, self._width, self.rich_style
        if row >= len(self.view):
            return Strip.blank(width, base)
        try:
            entry = self.view.store[self.view[row]]
        except IndexError:  # dropped by the store since the last flush
            return Strip.blank(width, base)
        parts = self._parts(entry, milliseconds=width >= _WIDE)
        segments = [Segment(text, base + style) for text, style in parts]
        strip = Strip(segments)
        if strip.cell_length > self._longest:
            self._longest = strip.cell_length
            self.call_after_refresh(self._widen)
        if (selection := self.text_selection) is not None:
            strip = self._selected(strip, selection, row)
        return self._marked(strip, left, width, base).apply_offsets(left, row)

    def _marked(self, strip: Strip, left: int, width: int, base: RichStyle) -> Strip:
        """The part of a line that is in view, with ‹ and › where it goes on."""
        seen = strip.crop_extend(left, left + width, base)
        cut = base + self.get_component_rich_style("log--cut", partial=True)
        if strip.cell_length > left + width:
            seen = Strip([*seen.crop(0, width - 1), Segment("›", cut)])
        if left and strip.cell_length:
            seen = Strip([Segment("‹", cut), *seen.crop(1)])
        return seen

    def _widen(self) -> None:
        self.virtual_size = Size(max(self._longest, self._width), len(self.view))

    def _parts(self, entry: LogEntry, milliseconds: bool) -> list[tuple[str, RichStyle]]:
        faint = self.get_component_rich_style("log--time")  # a colour with alpha: blended by the whole style
        tone = RichStyle()
        if entry.level != "INFO":
            tone = self.get_component_rich_style(
                f"log--{entry.level.lower()}", partial=entry.level != "DEBUG"
            )
        digit = " " if entry.rank is None else str(entry.rank)
        ink, back = INK.rich_color, rank_color(entry.rank or 0).rich_color
        badge = RichStyle() if entry.rank is None else RichStyle(color=ink, bgcolor=back, bold=True)
        return [
            (clock(entry.time, milliseconds) + " ", faint),
            (digit, badge),
            (_SOURCES[entry.source] + " ", faint),
            (_LEVELS[entry.level] + " ", tone),
            *self._found(entry.text, tone),
        ]

    def _found(self, text: str, tone: RichStyle) -> list[tuple[str, RichStyle]]:
        """The text, with what the filter looked for standing out."""
        wanted = self.view.filter.text.casefold()
        folded = text.casefold()
        if not wanted or len(folded) != len(text):  # folding changed the length: positions do not fit
            return [(text, tone)]
        found = self.get_component_rich_style("log--found", partial=True)
        parts: list[tuple[str, RichStyle]] = []
        at = 0
        while (hit := folded.find(wanted, at)) >= 0:
            parts += [(text[at:hit], tone), (text[hit : hit + len(wanted)], tone + found)]
            at = hit + len(wanted)
        return [*parts, (text[at:], tone)]

    # selection by mouse -------------------------------------------------------------------------

    def _selected(self, strip: Strip, selection: Selection, row: int) -> Strip:
        span = selection.get_span(row)
        if span is None:
            return strip
        start, end = span
        end = strip.cell_length if end == -1 else min(end, strip.cell_length)
        if start >= end:
            return strip
        chosen = self.screen.get_component_rich_style("screen--selection")
        before, middle, after = strip.divide([start, end, strip.cell_length])
        return Strip.join([before, middle.apply_style(chosen), after])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text between two rows, as on the screen (`Selection` counts rows of the view)."""
        start = selection.start.y if selection.start else 0
        end = selection.end.y if selection.end else len(self.view) - 1
        if not len(self.view) or start >= len(self.view):
            return None
        wide = self._width >= _WIDE
        lines = [
            "".join(text for text, _ in self._parts(self.view.store[self.view[row]], wide))
            for row in range(start, min(end, len(self.view) - 1) + 1)
        ]
        if selection.end is not None and end < len(self.view):
            lines[-1] = lines[-1][: selection.end.x]
        if selection.start is not None:
            lines[0] = lines[0][selection.start.x :]
        return "\n".join(lines), "\n"

    def selection_updated(self, selection: Selection | None) -> None:
        self.refresh()


def clock(seconds: float, milliseconds: bool) -> str:
    """Time of day in the operator's zone."""
    try:
        text = time.strftime("%H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # no time that a calendar has: the host's clock is broken
        return "??:??:??" + ".???" * milliseconds
    return f"{text}.{int(seconds * 1000) % 1000:03}" if milliseconds else text
