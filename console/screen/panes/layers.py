"""Pane 2: one cell a layer, in the order in which a hidden state passes them."""

from textual.color import Color
from textual.content import Content
from textual.style import Style

from console.logs.text import safe_line
from console.screen.actions import BY_ID
from console.screen.panes.memory import used_of
from console.screen.panes.pane import TextPane
from console.screen.picture import Picture
from console.screen.theme import BAD, DIM, INK, WORKING, badge, rank_color
from console.state import HostView
from ringcore.spec.plan import Stage

_GUTTER = 5  # number of the row's first layer
_BACK = Color.parse("#30343c")


class LayersPane(TextPane):
    NAME = "layers"

    def __init__(self) -> None:
        super().__init__()
        edit = BY_ID["edit_split"]
        self.border_subtitle = Content(f"{edit.key} {edit.label}")

    def draw(self, picture: Picture, width: int) -> Content:
        plan = picture.plan
        if plan is None:
            return Content.styled(
                "No plan yet. e makes one and edits it; d deploys one; s does all and starts.", DIM
            )
        expected = f"  {plan.tokens_per_second:.1f} tok/s expected" if plan.tokens_per_second else ""
        self.set_title(f"{plan.stages[0].shard.total} layers{expected}")
        return draw_layers(picture, width)


def draw_layers(picture: Picture, width: int) -> Content:
    """Cells in rows of a round number of layers, then the legend with each rank's layers (inclusive)."""
    plan = picture.plan
    assert plan is not None
    total = plan.stages[0].shard.total
    room = max(8, width - _GUTTER)
    size = 2 if total * 2 <= room else 1
    per_row = room // size
    if total > per_row and per_row >= 10:
        per_row -= per_row % 10
    parts: list[Content] = []
    cells = [
        _cell(picture, stage, layer, size)
        for stage in plan.pipeline
        for layer in range(stage.shard.start, stage.shard.end)
    ]
    for start in range(0, total, per_row):
        label = Content.styled(f"{start:>{_GUTTER - 1}} ", DIM)
        parts.append(label + Content.assemble(*cells[start : start + per_row]))
    return Content("\n").join([*parts, *_legend(picture, plan.pipeline, width)])


def _cell(picture: Picture, stage: Stage, layer: int, size: int) -> tuple[str, Style]:
    """Solid: at work. Tinted: loaded. Bare: not there (yet). x: its rank failed."""
    host = picture.host(stage)
    color = rank_color(stage.rank)
    text = str(stage.rank).ljust(size)
    if host is None:
        return text, Style(dim=True)
    if host.phase == "failed" or host.lost:
        return "x".ljust(size), Style(foreground=Color.parse("#ffffff"), background=Color.parse("#a8323e"))
    if stage.rank in picture.working:
        return text, Style(foreground=INK, background=color, bold=True)
    if _resident(host, stage, layer):
        return text, Style(foreground=color.blend(Color.parse("#ffffff"), 0.15), background=_BACK)
    return "·".ljust(size) if host.phase == "loading" else text, Style(dim=True)


def _resident(host: HostView, stage: Stage, layer: int) -> bool:
    if host.phase in ("loaded", "joining", "ready"):
        return True
    return host.phase == "loading" and layer - stage.shard.start < host.phase_progress * stage.shard.count


def _legend(picture: Picture, pipeline: tuple[Stage, ...], width: int) -> list[Content]:
    """Layers (inclusive), and need against ceiling; entries beside each other while they fit."""
    lines: list[Content] = []
    line = Content("")
    for stage in pipeline:
        working = stage.rank in picture.working
        shard, over = stage.shard, stage.free_bytes < 0
        entry = Content.assemble(
            (f"{WORKING} " if working else "  ", "bold"),
            badge(stage.rank),
            f" {safe_line(stage.host)} ",
            (f"{shard.start}..{shard.end - 1}", "bold" if working else ""),
            (f" ({shard.count}) ", DIM),
            (
                f"{'! ' if over else ''}{used_of(stage.need_bytes, stage.ceiling_bytes)}  ",
                BAD if over else "",
            ),
        )
        if line.cell_length and line.cell_length + entry.cell_length > width + 2:
            lines.append(line)
            line = Content("")
        line = line + entry
    return [*lines, line]
