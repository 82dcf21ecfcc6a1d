"""Pane 4: the lines of all ranks in one order, with a filter by text and by rank.

Owns the store and the moment when new lines are drawn; `LogLines` draws them.
"""

from collections.abc import Callable, Iterable

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input

from console.logs.merge import Merger
from console.logs.store import LogEntry, LogFilter, LogStore, LogView
from console.screen.actions import hints
from console.screen.clipboard import copy
from console.screen.panes.log_lines import LogLines
from console.screen.panes.pane import Pane
from console.screen.picture import Picture

FLUSH_SECONDS = 0.08


class LogsPane(Pane):
    NAME = "logs"
    SCOPE = "logs"

    def __init__(self, ranks: int, clock: Callable[[], float]) -> None:
        self._ranks = ranks
        self._clock = clock
        self.store = LogStore()
        self.merger = Merger()
        self.lines = LogLines(LogView(self.store))
        self._filter = Input(placeholder="text to find; enter keeps, esc shows all", compact=True)
        self._filter.cursor_blink = False
        self._timer: Timer | None = None
        super().__init__()

    def compose(self) -> ComposeResult:
        yield self.lines
        yield self._filter

    def on_mount(self) -> None:
        self._filter.display = False
        self._label()
        self._flush_later()

    @property
    def target(self) -> Widget:
        return self.lines

    def show(self, picture: Picture) -> None:
        """The state has nothing to tell here: lines come through `push`."""

    # lines --------------------------------------------------------------------------------------

    def push(self, entries: Iterable[LogEntry]) -> None:
        """Take lines in; they are drawn in a batch, some 12 times a second at most."""
        now = self._clock()
        for entry in entries:
            self.merger.push(entry, now)
        if self.is_mounted:
            self._flush_later()

    def _flush_later(self) -> None:
        """A timer only while lines are held back: an idle screen has none."""
        if self._timer is None and len(self.merger):
            self._timer = self.set_timer(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        self._timer = None
        ready = self.merger.pop(self._clock())
        if ready:
            self.store.add(ready)
            self.lines.flush()
            self._label()
        self._flush_later()

    # actions ------------------------------------------------------------------------------------

    def do_follow(self) -> None:
        self.lines.follow(not self.lines.following)

    def do_one_rank(self) -> None:
        chosen = self.lines.view.filter
        rank = 0 if chosen.rank is None else chosen.rank + 1
        self._look_for(chosen._replace(rank=rank if rank < self._ranks else None))

    async def do_copy(self) -> None:
        selected = self.screen.get_selected_text()
        numbers = self.lines.visible_numbers()
        text = selected or "\n".join(self.lines.plain(number) for number in numbers)
        if text:
            await copy(self.app, text)
            count = text.count("\n") + 1
            self.notify(f"Copied {count} line{'s' if count > 1 else ''}", markup=False, timeout=2)

    def do_filter(self) -> None:
        self._filter.display = True
        self._filter.focus()

    def do_unfilter(self) -> None:
        self._filter.value = ""
        self._filter.display = False
        self._look_for(LogFilter())
        self.lines.focus()

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._look_for(self.lines.view.filter._replace(text=event.value))

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self._filter.display = bool(event.value)
        self.lines.focus()

    def _look_for(self, chosen: LogFilter) -> None:
        if chosen != self.lines.view.filter:
            self.lines.set_view(LogView(self.store, chosen))
            self._label()

    @on(LogLines.Followed)
    def _label(self) -> None:
        chosen = self.lines.view.filter
        words = ["all ranks" if chosen.rank is None else f"rank {chosen.rank} only"]
        if chosen.text:
            words.append(f"/{chosen.text}")
        words.append("following" if self.lines.following else "PAUSED")
        self.set_title("  ".join(words))
        follow = "pause" if self.lines.following else "follow"
        shown, total = len(self.lines.view), self.store.end
        count = f"{shown:,} of {total:,}" if chosen else f"{total:,}"
        dropped = f", oldest {self.store.dropped:,} dropped" if self.store.dropped else ""
        self.border_subtitle = Content(f"{count} lines{dropped}  {hints('logs', follow=follow)}")
