"""Rank 0's connection to the gateway: JSON lines over ``engine.sock``, never blocking.

The gateway listens and may start before or after; a lost connection is tried again. Knows nothing
of what the messages mean.
"""

import socket
import time

import msgspec

from ringcore.spec.engine import EngineToGateway, GatewayToEngine, encoder, gateway_to_engine

RETRY_SECONDS = 0.25
MAX_UNSENT = 16 << 20
MAX_LINE = 64 << 20  # a prompt of millions of tokens


class Door:
    """``hello`` is the first message of every connection. `receive` tells once that one was lost, however
    that came to light; until it has, there is no new one: requests of the old must not speak into it."""

    def __init__(self, path: str, hello: EngineToGateway) -> None:
        self._path = path
        self._hello = hello
        self._socket: socket.socket | None = None
        self._lost = False  # and not told
        self._tried = -RETRY_SECONDS
        self._in = b""
        self._out = b""
        self.problem = ""  # the last line that could not be read, for the log

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def readable(self) -> list[socket.socket]:
        """For a select: what to watch for reading."""
        return [self._socket] if self._socket else []

    @property
    def writable(self) -> list[socket.socket]:
        """For a select: what to watch for writing."""
        return [self._socket] if self._socket and self._out else []

    def connect(self) -> None:
        """Try again when it is time; quietly does nothing else."""
        now = time.monotonic()
        if self._socket or self._lost or now - self._tried < RETRY_SECONDS:
            return
        self._tried = now
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Before connecting: a gateway that accepts nobody must not hold up the ring.
        connection.setblocking(False)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            return
        self._socket, self._in, self._out = connection, b"", b""
        self.send([self._hello])

    def send(self, messages: list[EngineToGateway]) -> None:
        """Queue and send what goes now. Without a gateway, or one that reads nothing, they are dropped."""
        if not self._socket:
            return
        self._out += b"".join(encoder.encode(message) + b"\n" for message in messages)
        self.flush()
        if len(self._out) > MAX_UNSENT:
            self._lose()

    def flush(self) -> None:
        """Send what is left of earlier messages, as far as it goes now."""
        if not self._socket or not self._out:
            return
        try:
            self._out = self._out[self._socket.send(self._out) :]
        except BlockingIOError:
            return
        except OSError:
            self._lose()

    def receive(self) -> list[GatewayToEngine] | None:
        """What has come, [] when nothing has; None when the gateway is gone."""
        if not self._socket:
            self._lost = False
            return None
        try:
            data = self._socket.recv(1 << 20)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        if not data or len(self._in) > MAX_LINE:
            self._lose()
            self._lost = False
            return None
        *lines, self._in = (self._in + data).split(b"\n")
        messages: list[GatewayToEngine] = []
        for text in lines:
            try:
                messages.append(gateway_to_engine.decode(text))
            except msgspec.MsgspecError as error:
                self.problem = f"the gateway said something unknown: {error}"
        return messages

    def close(self) -> None:
        self._lose()

    def _lose(self) -> None:
        if self._socket:
            self._socket.close()
            self._lost = True
        self._socket = None
