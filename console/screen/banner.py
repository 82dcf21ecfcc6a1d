"""What failed, under the header, until the next attempt: rank, host, cause and remedy.

A long story (a model that does not fit, host by host) is cut here; a key tells all of it.
"""

from textual.content import Content
from textual.widgets import Static

from console.logs.text import safe_line, safe_text
from console.screen.actions import BY_ID
from console.screen.picture import Picture
from console.screen.theme import BAD
from ringcore.spec.errors import Failure

ROWS = 5


class Banner(Static):
    def __init__(self) -> None:
        super().__init__(markup=False, id="banner")
        self._shown: tuple[Failure, int] | None = None

    def show(self, picture: Picture) -> None:
        failure = picture.shown_failure
        self.display = failure is not None
        if failure is None:
            self._shown = None
            return
        width = max(20, self.app.size.width - 2)
        if (failure, width) != self._shown:
            self._shown = (failure, width)
            self.update(cut(failure_text(failure), width))


def cut(text: Content, width: int, rows: int = ROWS) -> Content:
    """``text`` as it is where it takes ``rows`` at most; else its beginning, and which key tells the rest."""
    lines = [part for line in text.split("\n") for part in line.wrap(width)]
    if len(lines) <= rows:
        return text
    more = Content.styled(f"{BY_ID['why'].key} tells all of it ({len(lines)} lines)", "bold $text-accent")
    return Content("\n").join([*lines[: rows - 1], more])


def failure_text(failure: Failure) -> Content:
    """All of it: where, why, and the remedy."""
    rank = "" if failure.rank is None else f"rank {failure.rank} "
    where = f"{rank}{safe_line(failure.host)}".strip()
    text = f"✗ {where + ': ' if where else ''}{safe_text(failure.cause)}"
    if not failure.remedy:
        return Content.styled(text, f"bold {BAD}")
    return Content.assemble((text, f"bold {BAD}"), "\n", ("remedy: ", "bold"), safe_text(failure.remedy))
