"""Messages of a link in the order in which a stage should work on them.

A row that has passed all layers waits for its token only: it overtakes rows that wait for layers, else these
would pile up before the first stage and leave the last one without work. Only logits overtake; nothing else
depends on when they are computed.
"""

from collections import deque

from ringcore.engine.step import HEAD_OPERATIONS
from ringcore.rank.link import Link, Message


class Inbox:
    """Takes all that has come from ``link`` before it gives one out."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._messages: deque[Message] = deque()

    @property
    def urgent(self) -> bool:
        """Whether one that overtakes has come."""
        self._look()
        return self._first() is not None

    def receive(self) -> Message:
        """Wait for a message. Raises `RingError` when one is not what is due."""
        if not self._messages:
            self._messages.append(self._link.receive())
        self._look()
        message = self._first() or self._messages[0]
        self._messages.remove(message)
        return message

    def _look(self) -> None:
        while self._link.waiting:
            self._messages.append(self._link.receive())

    def _first(self) -> Message | None:
        return next((each for each in self._messages if each.step.operation in HEAD_OPERATIONS), None)
