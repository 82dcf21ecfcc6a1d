"""The line at the top: which ring, in which phase, how fast. Always visible, whatever pane is seen."""

from textual.content import Content
from textual.widgets import Static

from console.logs.text import safe_line
from console.screen.picture import Picture, headline
from console.screen.theme import DIM, TONES, fit


class Header(Static):
    def __init__(self) -> None:
        super().__init__(markup=False, id="header")

    def show(self, picture: Picture) -> None:
        self.update(header_line(picture, self.size.width or 80))


def header_line(picture: Picture, width: int) -> Content:
    """Name, model, phase, epoch, ranks, speed; the model's name gives way when it is narrow."""
    state = picture.state
    word, tone = headline(picture)
    count = len(state.plan.stages) if state.plan else len(state.hosts)
    ranks = f"{picture.ready_ranks}/{count} ranks"
    speed = f"{state.tokens_per_second:.1f} tok/s" if state.tokens_per_second else "- tok/s"
    first = f"TTFT {state.first_token_seconds:.1f} s" if state.first_token_seconds else "TTFT -"
    epoch = f"epoch {state.epoch or '-'}"
    gap = "   " if width >= 110 else "  "
    tail = Content.assemble(
        (f" {word} ", TONES[tone]), gap, epoch, gap, ranks, gap, (speed, "bold"), gap, first
    )
    head = Content.assemble((" mlxring ", DIM), (safe_line(state.name), "bold"), gap)
    model = safe_line(state.model.rstrip("/").rsplit("/", 1)[-1])
    room = width - head.cell_length - tail.cell_length - len(gap) - 1
    shown = fit(model, min(room, len(model))) + gap if room >= 6 else ""
    return head + Content(shown) + tail
