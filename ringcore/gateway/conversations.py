"""Conversations that the gateway holds, so that a client sends only what is new: in memory, and in files, so
that they outlive a restart.

Owns the messages by name, and the bounds: the least recently used go first, and those that nobody used for
`KEPT_SECONDS`. Their computed prefix is the ring's affair, which finds it by the tokens. Knows no HTTP.
"""

import time
from collections import OrderedDict
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ringcore.gateway.errors import ApiFault
from ringcore.gateway.messages import Message
from ringcore.gateway.shelf import Saved, Shelf

MAX_CONVERSATIONS = 256
MAX_BYTES = 64 << 20
KEPT_SECONDS = 30 * 24 * 3600.0


class Held(Struct):
    """``used`` is in seconds since the Unix epoch. ``tokens``: of prompt and answer when it last ended."""

    messages: tuple[Message, ...] = ()
    tokens: int = 0
    used: float = 0.0
    size: int = 0
    busy: bool = False
    forgotten: bool = False  # in the middle of a turn, which must not bring it back


class Conversations:
    """What runs in one is a turn: between `begin` and `end` nobody else may begin one there. ``shelf`` has
    the files, None: there are none."""

    def __init__(self, shelf: Shelf | None = None) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._shelf = shelf
        for saved in shelf.read() if shelf else ():
            size = len(msgspec.json.encode(saved.messages))
            self._held[saved.name] = Held(saved.messages, saved.tokens, saved.used, size)
        self._make_room()

    def begin(self, name: str, new: Sequence[Message]) -> tuple[Message, ...]:
        """All messages of it. A client that sends again what is held is understood. Raises `ApiFault` 409."""
        self._make_room()
        held = self._held.setdefault(name, Held(used=time.time()))
        if held.busy:
            raise ApiFault(
                409,
                f"conversation_id: an answer in {name} is on its way",
                param="conversation_id",
                code="conversation_busy",
            )
        held.busy = True
        count = len(held.messages)
        again = count and [message.said for message in new[:count]] == [m.said for m in held.messages]
        return (*held.messages, *(new[count:] if again else new))

    def end(self, name: str, messages: Sequence[Message], tokens: int) -> None:
        """The turn is done: the conversation is ``messages`` now."""
        held = self._held.get(name)
        if held is None or held.forgotten:
            return
        held.messages, held.tokens, held.used = tuple(messages), tokens, time.time()
        held.size = len(msgspec.json.encode(held.messages))
        self._held.move_to_end(name)
        if self._shelf is not None:
            self._shelf.put(Saved(name=name, messages=held.messages, tokens=held.tokens, used=held.used))
        self._make_room()

    def leave(self, name: str) -> None:
        """The turn is over, however it went; what did not `end` leaves no trace."""
        held = self._held.get(name)
        if held is not None:
            held.busy = False
            if not held.messages:
                del self._held[name]

    def forget(self, name: str) -> bool:
        """False when there is none of that name."""
        held = self._held.get(name)
        if held is None or held.forgotten:
            return False
        if held.busy:
            held.messages, held.size, held.forgotten = (), 0, True
        else:
            del self._held[name]
        self._drop(name)
        return True

    def all(self) -> dict[str, Held]:
        """By name, those used last first."""
        self._make_room()
        return {name: self._held[name] for name in reversed(self._held) if self._held[name].messages}

    def _make_room(self) -> None:
        size = sum(held.size for held in self._held.values())
        for name, held in tuple(self._held.items()):
            old = time.time() - held.used > KEPT_SECONDS
            if not old and len(self._held) <= MAX_CONVERSATIONS and size <= MAX_BYTES:
                return
            if not held.busy:
                size -= held.size
                del self._held[name]
                self._drop(name)

    def _drop(self, name: str) -> None:
        if self._shelf is not None:
            self._shelf.drop(name)
