"""The end of the console: breaks off what is at work, ends the ring where that was asked, says last words.

Knows nothing of panes. Asked a second time it leaves at once.
"""

import asyncio
import signal
from collections.abc import Callable

from rich.text import Text
from textual.app import App

from console.logs.text import safe_text
from console.screen.picture import Picture
from console.screen.work import Work
from ringcore.spec.profile import Profile

ENDINGS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)  # ctrl+c itself is a key here


class Leaving:
    """``stops_ring``: leaving ends the ring too. ``picture`` gives what is known now."""

    def __init__(
        self,
        app: App[None],
        profile: Profile,
        work: Work,
        picture: Callable[[], Picture],
        *,
        stops_ring: bool,
    ) -> None:
        self._app = app
        self._profile = profile
        self._work = work
        self._picture = picture
        self._stops_ring = stops_ring
        self._begun = False

    def listen(self) -> None:
        """Ended from outside, or its terminal closed: as if q were pressed, so that a demo ends its ring."""
        for number in ENDINGS:
            asyncio.get_running_loop().add_signal_handler(number, self.begin)

    def deafen(self) -> None:
        for number in ENDINGS:
            asyncio.get_running_loop().remove_signal_handler(number)

    def begin(self) -> None:
        if self._begun:
            self._app.exit()
            return
        self._begun = True
        self._app.run_worker(self._leave(), group="leave", exit_on_error=False)

    async def _leave(self) -> None:
        if self._work.busy:
            self._app.notify(f"Breaking off {self._work.busy}; q again leaves at once", markup=False)
            await self._work.break_off()
        if self._stops_ring:
            self._app.notify("Stopping the ring; q again leaves at once", markup=False, timeout=20)
            failure = await self._work.stop_at_the_end()
            text = f"The ring {self._profile.name} was not stopped. {failure}" if failure else ""
            self._end(text, failure.exit_code if failure else 0)
        elif self._picture().alive:
            ring = self._profile.path or self._profile.name
            self._end(f"The ring {self._profile.name} keeps serving. `mlxring {ring}` opens it again.")
        else:
            self._end()

    def _end(self, text: str = "", return_code: int = 0) -> None:
        message = Text(safe_text(text)) if text else None  # a string would be read as markup
        self._app.exit(message=message, return_code=return_code)
