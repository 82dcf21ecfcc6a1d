"""The editor of the split, over the panes: arrows move a boundary between ranks, enter writes the profile.

Knows a plan and how to evaluate another split of it; what writing means is a callable's business.
"""

from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import structs
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widgets import Static

from console.logs.text import safe_line, safe_text
from console.screen.dialogs import Confirm
from console.screen.split_text import Split, draw_split, layers_line
from console.screen.theme import BAD
from ringcore.planning.evaluate import Evaluation, evaluate
from ringcore.spec.errors import Failure, MlxringError
from ringcore.spec.plan import Plan

# Writes these layers, rank 0 first (none: the planner's own choice), into the profile. Why not, or None.
Write = Callable[[tuple[int, ...]], Failure | None]
_HINTS = "←→ move  tab next  enter write  u undo  p planner's  esc leave"


class SplitEditor(ModalScreen[None]):
    """``plan`` must have a card and two stages at least. ``target`` names the file for the question, "" when
    there is none. ``by_hand``: the file counts the layers now.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)"),
        Binding("right", "move(1)"),
        Binding("shift+left", "move(-5)"),
        Binding("shift+right", "move(5)"),
        Binding("tab,down", "choose(1)"),
        Binding("shift+tab,up", "choose(-1)"),
        Binding("enter", "ask"),
        Binding("u", "undo"),
        Binding("p", "planner"),
        Binding("escape,q", "leave"),
    ]

    def __init__(self, plan: Plan, write: Write, *, target: str, by_hand: bool, note: str = "") -> None:
        super().__init__()
        before = evaluate(plan, [stage.shard.count for stage in plan.stages])
        self.split = Split(plan=plan, before=before, now=before, chosen=0)
        self._write = write
        self._target = target
        self._by_hand = by_hand
        self._note = note
        self._text = Static(markup=False)
        self._said = Static(markup=False, classes="said")
        self._box = VerticalScroll(self._text, self._said, classes="dialog split", can_focus=False)
        self._box.border_title = Content(f"Split of {safe_line(plan.model)}")
        self._box.border_subtitle = Content(_HINTS)

    def compose(self) -> ComposeResult:
        yield self._box

    def on_mount(self) -> None:
        self._say(self._note)
        self._draw()

    def on_resize(self, event: Resize) -> None:
        self.call_after_refresh(self._draw)

    def _draw(self) -> None:
        width = self._box.scrollable_content_region.width
        if width:
            self._text.update(draw_split(self.split, width))

    def _say(self, text: str, bad: bool = False) -> None:
        self._said.display = bool(text)
        self._said.update(Content.styled(safe_text(text), f"bold {BAD}" if bad else "$text-warning"))

    # keys ---------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Each rank keeps one layer at least: the boundary stops before the next one."""
        left, right = self.split.around
        by = max(1 - left.shard.count, min(right.shard.count - 1, by))
        counts = list(self.split.now.layers)
        counts[left.rank] += by
        counts[right.rank] -= by
        self._show(evaluate(self.split.plan, counts))

    def action_choose(self, by: int) -> None:
        chosen = (self.split.chosen + by) % (len(self.split.now.stages) - 1)
        self.split = structs.replace(self.split, chosen=chosen)
        self._draw()

    def action_undo(self) -> None:
        self._show(self.split.before)

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_ask(self) -> None:
        split = self.split
        if not split.now.fits:
            self._say("Not written: this split does not fit, as said above.", bad=True)
        elif not self._target:
            self._say("Not written: this ring has no profile file. `mlxring init` writes one.", bad=True)
        elif self._by_hand and split.now.layers == split.before.layers:
            self._say("Nothing to write: the profile says so already.")
        else:
            text = f"{layers_line(split)}\nIts comments and all else stay as they are."
            self._confirm(text, split.now.layers)

    def action_planner(self) -> None:
        if not self._by_hand:
            self._say("Nothing to write: the planner chooses already.")
        elif not self._target:
            self._say("Not written: this ring has no profile file.", bad=True)
        else:
            self._confirm("layers is removed: the planner chooses the split again.", ())

    def _confirm(self, text: str, layers: tuple[int, ...]) -> None:
        def answered(yes: bool | None) -> None:
            if not yes:
                return
            failure = self._write(layers)
            if failure is None:
                self.dismiss(None)
            else:
                self._say(f"Not written: {failure}", bad=True)

        self.app.push_screen(Confirm(f"Write {self._target}?", text, "Write"), answered)

    def _show(self, now: Evaluation) -> None:
        self.split = structs.replace(self.split, now=now)
        self._say("")
        self._draw()


def why_no_editor(plan: Plan) -> str:
    """Why the boundaries of this plan cannot be moved, or ""."""
    if len(plan.stages) < 2:
        return "one rank holds all layers: there is no boundary to move"
    try:
        evaluate(plan, [stage.shard.count for stage in plan.stages])
    except MlxringError as error:
        return f"{error.failure.cause}; {error.failure.remedy}"
    return ""


def replanned(plan: Plan, layers: Sequence[int]) -> Plan:
    """``plan`` with these layers by hand, as the planner would say it."""
    found = evaluate(plan, layers)
    return structs.replace(
        plan,
        stages=found.stages,
        head_rows=found.head_rows,
        explanation=(f"layers by hand: {list(layers)}, rank 0 first.",),
        tokens_per_second=found.rates.alone,
        tokens_per_second_together=found.rates.together,
    )
