"""Pane 1: a row for each rank with where it stands, and under it what it does or why it failed."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.events import Resize
from textual.widget import Widget
from textual.widgets import ListItem, ListView, Static

from console.logs.text import safe_line, safe_text
from console.screen.messages import DetailsAsked, RetryAsked
from console.screen.panes.pane import Pane
from console.screen.picture import Picture
from console.screen.theme import BAD, DIM, FAILED, OK, WAITING, WORKING, badge, bar, fit, fit_name
from console.state import STEPS, HostView
from ringcore.spec.plan import Stage

_STATE_WIDTH = 20


class HostItem(ListItem):
    """One host: a row, and a text under it when there is something to say."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank = rank
        self._row = Static(markup=False, classes="row")
        self._more = Static(markup=False, classes="more")
        self._drawn: tuple[Content, Content] | None = None

    def compose(self) -> ComposeResult:
        yield self._row
        yield self._more

    def draw(self, row: Content, more: Content) -> None:
        if self._drawn and row.is_same(self._drawn[0]) and more.is_same(self._drawn[1]):
            return
        self._drawn = (row, more)
        self._row.update(row)
        self._more.display = bool(more.plain)
        self._more.update(more)


class HostList(ListView):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "cursor_down", show=False),
        Binding("k", "cursor_up", show=False),
    ]


class HostsPane(Pane):
    NAME = "hosts"
    SCOPE = "hosts"
    FRAME_ROWS = 3

    def __init__(self, ranks: int) -> None:
        super().__init__()
        self._items = [HostItem(rank) for rank in range(ranks)]
        self._head = Static(markup=False, classes="head")
        self._list = HostList(*self._items)
        self._picture: Picture | None = None

    def compose(self) -> ComposeResult:
        yield self._head
        yield self._list

    @property
    def target(self) -> Widget:
        return self._list

    @property
    def chosen(self) -> int:
        """Rank of the highlighted row."""
        return self._list.index or 0

    @on(ListView.Selected)
    def _open(self, event: ListView.Selected) -> None:
        event.stop()
        self.post_message(DetailsAsked(event.index))

    def do_details(self) -> None:
        self.post_message(DetailsAsked(self.chosen))

    def do_retry(self) -> None:
        self.post_message(RetryAsked(self.chosen))

    def on_resize(self, event: Resize) -> None:
        if self._picture is not None:
            self.show(self._picture)

    def show(self, picture: Picture) -> None:
        self._picture = picture
        width = self._list.scrollable_content_region.width
        if not width:
            return
        climbing = on_the_way(picture.state.hosts)
        self._head.update(Content.styled(head_line(width, climbing), DIM))
        for item, host in zip(self._items, picture.state.hosts, strict=True):
            stage = picture.stage(host.rank)
            working = host.rank in picture.working
            item.draw(host_row(host, stage, working, width, climbing), host_more(host, width - 2))


class Columns(NamedTuple):
    """Width of the name, and for which further columns there is room."""

    name: int
    steps: bool
    rate: bool
    shares: bool
    way_up: bool


def columns(width: int, climbing: bool = False) -> Columns:
    """``climbing``: no rank has made a step; where it is narrow, the way up takes the counters' place."""
    name = 18 if width >= 90 else 14 if width >= 70 else 10
    if width < 70 and climbing:
        return Columns(name, steps=False, rate=False, shares=False, way_up=True)
    return Columns(name, steps=width >= 52, rate=True, shares=width >= 90, way_up=width >= 70)


def on_the_way(hosts: Sequence[HostView]) -> bool:
    """Something is on its way up, or failed there, and no rank has made a step."""
    return not any(host.count for host in hosts) and any(host.status != "waiting" for host in hosts)


def head_line(width: int, climbing: bool = False) -> str:
    name, steps, rate, shares, ways = columns(width, climbing)
    line = f"  {'host':<{name}} {'state':<{_STATE_WIDTH}} {'layers':<7}"
    line += f"{'steps':>7} " if steps else " " if rate else ""
    line += f"{'step/s':>7}" if rate else ""
    return line + ("   busy   link" if shares else "") + ("  way up" if ways else "")


def host_row(
    host: HostView, stage: Stage | None, working: bool, width: int, climbing: bool = False
) -> Content:
    """One line: digit, name, state, layers (inclusive), step counter and rate, or the way up."""
    name, steps, rate, shares, ways = columns(width, climbing)
    state, style = host_state(host, working)
    layers = f"{stage.shard.start}..{stage.shard.end - 1}" if stage else "-"
    tail = f"{layers:<7}"
    if steps:
        tail += f"{host.steps if host.count else '-':>7} "
    elif rate:
        tail += " "
    if rate:
        tail += f"{host.step_rate if working else 0.0:>7.1f}" if host.count else f"{'-':>7}"
    if shares and not host.count:
        tail += f"{'-':>7}{'-':>7}"
    elif shares:
        tail += f"{host.busy_share if working else 0:>7.0%}{host.link_share if working else 0:>7.0%}"
    if ways:
        tail += f"  {way_up(host)}"
    return Content.assemble(
        badge(host.rank), f" {fit_name(host.name, name)} ", (fit(state, _STATE_WIDTH), style), " ", tail
    )


def host_state(host: HostView, working: bool) -> tuple[str, str]:
    """The state in `_STATE_WIDTH` cells and its style; the glyph says it without colour."""
    if host.status == "failed":
        what = "lost" if host.lost else host.phase if host.phase == "failed" else host.step
        return f"{FAILED} {what}" + ("" if what in ("lost", "failed") else " failed"), f"bold {BAD}"
    if host.status == "active":
        loading = host.step == "start" and host.phase is not None
        word = host.phase if loading else host.step
        progress = host.phase_progress if loading else host.progress
        if progress <= 0:
            return f"{WORKING} {word} ...", "$text-warning"
        return f"{WORKING} {word:<9.9} {bar(progress, 8)}", "$text-warning"
    if host.phase == "ready":
        return (f"{WORKING} at work", "bold $text-success") if working else (f"{OK} ready", "$text-success")
    if host.phase == "stopped":
        return f"{WAITING} stopped", DIM
    if host.status == "done":
        return f"{OK} {host.step} done", ""
    return f"{WAITING} waiting", DIM


def way_up(host: HostView) -> str:
    """One glyph a step of the way up: done, at work or failed, still to come."""
    here = {"done": OK, "active": WORKING, "failed": FAILED, "waiting": WAITING}[host.status]
    return "".join(here if step == host.step else OK if step in host.passed else WAITING for step in STEPS)


def host_more(host: HostView, width: int) -> Content:
    """Why it failed and the remedy, in full; or what it does and by which command; or short of memory."""
    if host.failure is not None:
        cause = Content.styled(safe_text(host.failure.cause), BAD)
        if not host.failure.remedy:
            return cause
        return Content.assemble(cause, "\n", ("remedy: ", "bold"), safe_text(host.failure.remedy))
    if host.status == "active":
        share = f"{host.progress:.0%}" if host.progress > 0 else ""
        doing = "  ".join(part for part in (share, safe_line(host.detail)) if part)
        command = f"$ {safe_line(host.command)}" if host.command else ""
        lines = [Content.styled(fit(line, width).rstrip(), DIM) for line in (doing, command) if line]
        return Content("\n").join(lines)
    if host.pressure is not None:
        words = f"! memory {host.pressure.level}: {host.pressure.text}"
        return Content.styled(fit(safe_line(words), width).rstrip(), "$text-warning")
    return Content("")
