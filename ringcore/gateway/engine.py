"""The connection to rank 0: one Unix socket, one peer at a time, messages of `ringcore.spec.engine`.

Owns the listener and who is connected; knows nothing of what a request is to a client.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from ringcore.spec.control import MAX_LINE
from ringcore.spec.engine import (
    EngineToGateway,
    Finished,
    GatewayToEngine,
    Read,
    Ready,
    Refused,
    Started,
    Token,
    encoder,
    engine_to_gateway,
)
from ringcore.spec.events import Level

RequestMessage = Started | Read | Token | Finished | Refused


class Engine:
    """Rank 0 as the gateway sees it. ``ready`` is None while nothing can be served; ``reason`` says why.

    ``on_message`` may raise ``ValueError`` for a message that makes no sense: the connection is dropped.
    """

    def __init__(self, path: Path, say: Callable[[Level, str], None]) -> None:
        self.ready: Ready | None = None
        self.reason = "the ring is not up yet: rank 0 has not connected"
        self.on_message: Callable[[RequestMessage], None] = lambda _message: None
        self.on_lost: Callable[[str], None] = lambda _reason: None
        self._path = path
        self._say = say
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def listen(self) -> None:
        """Replaces a socket that a killed gateway left behind. Raises ``OSError``."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._serve, str(self._path), limit=MAX_LINE)
        finally:
            os.umask(before)

    def send(self, message: GatewayToEngine) -> None:
        """To whoever is connected; when nobody is, its requests have been failed already."""
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(encoder.encode(message) + b"\n")

    async def close(self) -> None:
        self._drop("the gateway is stopping")
        if self._server is not None:
            self._server.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A new rank 0 is a new epoch: the old connection may not have noticed its own end yet.
        self._drop("another rank 0 connected")
        self._writer = writer
        why = "rank 0 closed its connection"
        try:
            while text := await reader.readline():
                if self._writer is not writer:
                    break  # replaced, with lines still unread
                self._take(engine_to_gateway.decode(text))
        except (OSError, ValueError) as error:  # msgspec's and readline's errors are ValueErrors
            why = f"rank 0's connection broke: {error}"
        finally:
            if self._writer is writer:
                self._drop(why)
            writer.close()

    def _take(self, message: EngineToGateway) -> None:
        if isinstance(message, Ready):
            self.ready = message
            self._say("INFO", f"rank 0 is connected, epoch {message.epoch}, context {message.context}")
        else:
            self.on_message(message)

    def _drop(self, why: str) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self.ready = None
        self.reason = f"the ring is down: {why}"
        writer.close()
        self._say("INFO", why)
        self.on_lost(why)
