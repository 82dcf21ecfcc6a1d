"""Which panes are seen at which terminal size: the one place that decides.

``one``: a single pane under a line of tabs. ``grid``: five panes. ``wide``: five, with wider logs.
"""

from typing import Literal

Layout = Literal["one", "grid", "wide"]
PANES = ("hosts", "layers", "memory", "logs", "prompt")
TITLES = {"hosts": "Hosts", "layers": "Layer map", "memory": "Memory", "logs": "Logs", "prompt": "Prompt"}
GRID_SIZE = (108, 30)
WIDE_SIZE = (160, 30)


def layout_for(width: int, height: int, zoomed: bool = False) -> Layout:
    if zoomed or width < GRID_SIZE[0] or height < GRID_SIZE[1]:
        return "one"
    return "wide" if width >= WIDE_SIZE[0] else "grid"
