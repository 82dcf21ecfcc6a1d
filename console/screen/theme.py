"""Colours and glyphs that every pane shares. A colour never stands alone: a digit or a word is with it."""

from textual.color import Color
from textual.content import Content
from textual.style import Style

from console.screen.picture import Tone

# Eight hues that differ in lightness too (after Okabe and Ito, https://jfly.uni-koeln.de/color/),
# all light enough for black digits on them.
RANK_COLORS = tuple(
    Color.parse(code)
    for code in ("#6EA8FE", "#F2A93B", "#3FC08A", "#E08BC0", "#D8D04A", "#F07F5A", "#5FD0E6", "#B7BDC6")
)
INK = Color.parse("#101010")
TONES: dict[Tone, str] = {
    "good": "bold $text on $success-muted",
    "busy": "bold $text on $warning-muted",
    "bad": "bold $text on $error-muted",
    "idle": "bold $text on $panel",
}
DIM = "$foreground-muted"
BAD = "$text-error"
OK, FAILED, WAITING, WORKING = "●", "✗", "○", "▶"


def rank_color(rank: int) -> Color:
    return RANK_COLORS[rank % len(RANK_COLORS)]


def badge(rank: int) -> tuple[str, Style]:
    """The rank's digit on its colour."""
    return f"{rank}", Style(background=rank_color(rank), foreground=INK, bold=True)


def bar(progress: float, width: int) -> str:
    """A progress bar of ``width`` cells, drawn without colour; ``progress`` 0..1."""
    full = round(min(1.0, max(0.0, progress)) * width)
    return "█" * full + "░" * (width - full)


def fit_name(name: str, width: int) -> str:
    """``name`` in exactly ``width`` cells, cut in the middle: hosts differ at the end of their names."""
    content = Content(name)
    if content.cell_length <= width:
        return fit(name, width)
    head, tail = (width - 1) // 2, width - 1 - (width - 1) // 2
    start = content.truncate(head).plain
    at = next(at for at in range(len(name) + 1) if Content(name[at:]).cell_length <= tail)
    return fit(f"{start}…{name[at:]}", width)


def fit(text: str, width: int) -> str:
    """``text`` in exactly ``width`` cells, cut with an ellipsis."""
    content = Content(text)
    if content.cell_length > width:
        return content.truncate(width, ellipsis=True).plain
    return text + " " * (width - content.cell_length)
