"""The details of a host while they are open: what was done there is gathered, read and drawn again.

Knows when to draw; the text is `console.screen.host_details`.
"""

import asyncio
from collections.abc import Callable, Sequence

from textual.app import App

from console.logs.actions import ActionLine, ActionLog
from console.ports import Cluster
from console.screen.host_details import HostDetails
from console.screen.picture import Picture
from ringcore.spec.events import Recorded

AUDIT_SECONDS = 1.0


class Detailing:
    """``audited``: commands that ran on a host, by its name, read in a thread. ``changed`` is called when
    there is something new to draw."""

    def __init__(
        self,
        app: App[None],
        cluster: Cluster,
        audited: Callable[[str], Sequence[ActionLine]],
        changed: Callable[[], None],
    ) -> None:
        self._app = app
        self._cluster = cluster
        self._audited = audited
        self._changed = changed
        self._actions = ActionLog()

    def take(self, record: Recorded) -> None:
        """Note what the event says was done."""
        self._actions.take(record)

    def open(self, host: str, picture: Picture) -> None:
        details = HostDetails(host)
        self._show(details, picture)
        self._app.push_screen(details)
        self._app.run_worker(self._read_audit(details), group="audit", name="audit", exit_on_error=False)

    def show(self, picture: Picture) -> None:
        """Draw what is open again."""
        for screen in self._app.screen_stack:  # empty when the last drawing meets the end
            if isinstance(screen, HostDetails):
                self._show(screen, picture)

    def _show(self, details: HostDetails, picture: Picture) -> None:
        facts = self._cluster.facts.get(details.host)
        details.show(picture, facts, self._actions.lines(details.host))

    async def _read_audit(self, details: HostDetails) -> None:
        """Again whenever something was done meanwhile, until the details are closed."""
        seen = -1
        while details in self._app.screen_stack:
            done = len(self._actions.lines(details.host))
            if done != seen:
                seen = done
                details.audited = await asyncio.to_thread(self._audited, details.host)
                self._changed()
            await asyncio.sleep(AUDIT_SECONDS)
