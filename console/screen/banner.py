"""What failed, under the header, until the next attempt: rank, host, cause and remedy."""

from textual.content import Content
from textual.widgets import Static

from console.logs.text import safe_text
from console.screen.picture import Picture
from console.screen.theme import BAD
from ringcore.spec.errors import Failure


class Banner(Static):
    def __init__(self) -> None:
        super().__init__(markup=False, id="banner")
        self._shown: Failure | None = None

    def show(self, picture: Picture) -> None:
        failure = picture.shown_failure
        self.display = failure is not None
        if failure is not None and failure != self._shown:
            self.update(banner_text(failure))
        self._shown = failure


def banner_text(failure: Failure) -> Content:
    rank = "" if failure.rank is None else f"rank {failure.rank} "
    where = f"{rank}{failure.host}".strip()
    text = f"✗ {where + ': ' if where else ''}{safe_text(failure.cause)}"
    if not failure.remedy:
        return Content.styled(text, f"bold {BAD}")
    return Content.assemble((text, f"bold {BAD}"), "\n", ("remedy: ", "bold"), safe_text(failure.remedy))
