"""Everything known of one host, over the panes: where it stands, facts, plan, what can and what was done.

Follows the ring while it is open. Knows values only; its one key besides closing is the pane's own retry.
"""

import time
from collections.abc import Iterator, Sequence
from typing import ClassVar

from msgspec import structs
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from console.logs.actions import KEPT, ActionLine
from console.logs.text import safe_line, safe_text
from console.screen.actions import BY_ID
from console.screen.fact_lines import fact_lines
from console.screen.messages import ActRequested
from console.screen.panes.hosts import host_state, way_up
from console.screen.panes.memory import memory_lines
from console.screen.picture import Picture
from console.screen.theme import BAD, DIM, badge
from console.state import STEPS, HostView
from ringcore.spec.facts import HostFacts

_OFFERED = ("retry", "refresh", "provision", "deploy", "start", "stop")


class HostDetails(ModalScreen[None]):
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter", "close"),
        Binding("r", "retry"),
    ]

    def __init__(self, name: str) -> None:
        super().__init__()
        self.host = name
        self.audited: Sequence[ActionLine] = ()  # commands that ran there, from the audit log
        self._text = Static(markup=False)
        self._drawn: Content | None = None
        self._scroll = VerticalScroll(self._text, classes="dialog reading", can_focus=True)
        self._scroll.border_subtitle = "r retry  end newest line  esc close"

    def compose(self) -> ComposeResult:
        yield self._scroll

    def show(self, picture: Picture, facts: HostFacts | None, log: Sequence[ActionLine]) -> None:
        """Draw what is known now; the reader's place in the text stays."""
        done = sorted([*log, *self.audited], key=lambda line: line.time)[-KEPT:]
        rank = next(host.rank for host in picture.state.hosts if host.name == self.host)
        self._scroll.border_title = Content(f"Rank {rank}  {safe_line(self.host)}")
        content = details(picture, self.host, facts, done)
        if self._drawn is None or not content.is_same(self._drawn):
            self._drawn = content
            self._text.update(content)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_retry(self) -> None:
        self.app.post_message(ActRequested("retry"))


def details(picture: Picture, name: str, facts: HostFacts | None, log: Sequence[ActionLine]) -> Content:
    """The whole text. Pure."""
    host = next(host for host in picture.state.hosts if host.name == name)
    parts: list[Content] = [_head(host, host.rank in picture.working)]
    if host.failure is not None:
        parts.append(Content.styled(f"failed     {safe_text(host.failure.cause)}", f"bold {BAD}"))
        if host.failure.remedy:
            parts.append(Content.assemble(("remedy     ", "bold"), safe_text(host.failure.remedy)))
    parts += _rows(_standing(picture, host))
    # p, d and s are refused while a ring runs: nothing reads facts here then.
    reads = "`mlxring check` tells them while the ring runs" if picture.alive else "p, d or s reads them"
    parts += _section("Facts", _rows(fact_lines(facts)) or [_quiet(f"not read yet: {reads}")])
    makes = "the plan leaves this host out" if picture.plan else "no plan yet: d or s makes one"
    parts += _section("Plan", _rows(_plan(picture, host)) or [_quiet(makes)])
    parts += _section("What you can do", list(_offers(picture, host.rank)))
    title = f"What was done  (the last {KEPT} lines)" if len(log) >= KEPT else "What was done"
    parts += _section(title, [_line(line) for line in log] or [_quiet("nothing yet")])
    return Content("\n").join(parts)


def _head(host: HostView, working: bool) -> Content:
    state, style = host_state(host, working)
    return Content.assemble(badge(host.rank), f" {safe_line(host.name)}  ", (state, style))


def way_up_words(host: HostView) -> str:
    """``● reach  ▶ facts 40%  ○ provision`` ..."""
    share = f" {host.progress:.0%}" if host.status == "active" and host.progress else ""
    glyphs = zip(way_up(host), STEPS, strict=True)
    return "  ".join(f"{glyph} {step}{share if step == host.step else ''}" for glyph, step in glyphs)


def _standing(picture: Picture, host: HostView) -> list[tuple[str, str]]:
    lines = [
        ("way up", way_up_words(host)),
        ("doing", host.detail),
        ("command", host.command),
        ("rank", f"{host.phase or 'not started'}" + (f", pid {host.pid}" if host.pid else "")),
        ("computes", host.computes_with),
    ]
    if host.count is not None:
        rate = f"{host.step_rate:.1f}/s, busy {host.busy_share:.0%}, link {host.link_share:.0%}"
        lines.append(("steps", f"{host.steps:,}, last {rate}"))
        lines.append(("tokens", f"{host.count.tokens:,}, steps in flight {host.count.in_flight}"))
    lines.append(("journal", f"read up to event {host.last_seq:,}" if host.last_seq else ""))
    return lines


def _plan(picture: Picture, host: HostView) -> list[tuple[str, str]]:
    stage = picture.stage(host.rank)
    lines: list[tuple[str, str]] = []
    if stage is not None:
        shard = stage.shard
        rows = picture.plan.head_rows if picture.plan else 0
        ends = ", embedding" * shard.is_first
        if rows and shard.is_first:
            ends += f", {rows:,} rows of the head"
        if shard.is_last:
            ends += ", norm and the head's other rows" if rows else ", norm and head"
        lines.append(("layers", f"{shard.start}..{shard.end - 1}, {shard.count} of {shard.total}{ends}"))
    return lines + memory_lines(host, stage)


def _offers(picture: Picture, rank: int) -> Iterator[Content]:
    """Each action that concerns a host: its key and what it does, or why not now."""
    for id in _OFFERED:
        action = BY_ID[id]
        reason = action.why_not(structs.replace(picture, chosen=rank))
        key = (f"{action.key:<3}", f"{DIM} strike" if reason else "bold $text-accent")
        yield Content.assemble(
            key, f"{action.label:<10}", (safe_line(reason or action.help), DIM if reason else "")
        )


def _line(line: ActionLine) -> Content:
    stamp = time.strftime("%H:%M:%S", time.localtime(line.time))
    return Content.assemble((f"{stamp}  ", DIM), (line.text, BAD if line.bad else ""))


def _section(title: str, lines: list[Content]) -> list[Content]:
    return [Content(""), Content.styled(title, "bold"), *lines]


def _quiet(text: str) -> Content:
    return Content.styled(text, DIM)


def _rows(lines: Sequence[tuple[str, str]]) -> list[Content]:
    return [Content.assemble((f"{name:<10} ", DIM), safe_text(value)) for name, value in lines if value]
