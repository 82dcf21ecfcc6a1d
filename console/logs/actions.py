"""What was done on each host, and what came of it: the newest lines, for the details of one host.

Unlike the log of all ranks it keeps progress within a step, and nothing that ranks print.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from console.logs.text import safe_line
from ringcore.spec.errors import Failure
from ringcore.spec.events import AgentLost, HostStep, RankChanged, Recorded

KEPT = 200


class ActionLine(NamedTuple):
    """``time`` in seconds since the Unix epoch; ``text`` is safe to draw."""

    time: float
    text: str
    bad: bool = False


class ActionLog:
    """The newest `KEPT` lines of each host. What only repeats the line before it is left out."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[ActionLine]] = {}
        self._last: dict[str, tuple[str, str]] = {}  # host -> (step, command) as last written

    def take(self, record: Recorded) -> None:
        lines = self._lines.setdefault(record.host, deque(maxlen=KEPT))
        for text, bad in self._said(record):
            line = ActionLine(record.time, safe_line(text), bad)
            if not lines or lines[-1].text != line.text:
                lines.append(line)

    def lines(self, host: str) -> Sequence[ActionLine]:
        """Oldest first."""
        return tuple(self._lines.get(host, ()))

    def _said(self, record: Recorded) -> Iterator[tuple[str, bool]]:
        event = record.event
        if isinstance(event, HostStep):
            yield from self._step(record.host, event)
        elif isinstance(event, RankChanged):
            if event.phase == "failed":
                yield from _failed("rank", event.failure)
            elif event.phase != "loading":
                yield f"rank: {event.phase}" + (f", {event.detail}" if event.detail else ""), False
        elif isinstance(event, AgentLost) and event.failure is not None:
            yield from _failed("connection to the agent", event.failure)

    def _step(self, host: str, event: HostStep) -> Iterator[tuple[str, bool]]:
        if event.status == "failed":
            yield from _failed(event.step, event.failure)
            return
        told = (event.step, event.command)
        if event.command and self._last.get(host) != told:
            yield f"{event.step}: $ {event.command}", False
        self._last[host] = told
        if event.status == "done":
            yield f"{event.step}: done" + (f", {event.detail}" if event.detail else ""), False
        elif event.detail:
            yield f"{event.step}: {event.detail}", False


def _failed(what: str, failure: Failure | None) -> Iterator[tuple[str, bool]]:
    for line in (f"{what}: failed" + (f", {failure.cause}" if failure else "")).splitlines():
        yield line, True
    if failure is not None and failure.remedy:
        for line in f"remedy: {failure.remedy}".splitlines():
            yield line, False
