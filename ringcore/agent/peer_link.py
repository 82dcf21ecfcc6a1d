"""A TCP connection between two agents of one run: both prove that they know its secret, and every line
carries a code that only they can make. Heartbeats: silence of `SILENCE_SECONDS` ends the connection.

Handshake (each side a random nonce; HMAC-SHA256 under the run's secret)::

    member -> leader   MLXRING1 <member nonce>
    leader -> member   <leader nonce> <code of "leader" and both nonces>
    member -> leader   <code of "member" and both nonces>

Then lines ``<code> <JSON>``, the code over direction, running number and text under a key of both
nonces, and behind a `Piece` as many bytes as it says and their code: nothing can be changed, doubled,
left out or put in by others on the network. Nothing is hidden from them: phases, counters, failures and
what files of the prefix cache hold travel in the clear, the secret never does.
"""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import Struct

from ringcore.agent.peer_messages import Beat, Piece, encoder

BEAT_SECONDS, SILENCE_SECONDS = 1.0, 5.0
HANDSHAKE_SECONDS = 4.0
_GREETING = b"MLXRING1"
_CODE_BYTES = 16
_T = TypeVar("_T")


class Untrusted(Exception):
    """The other side does not know this run's secret, or is no agent at all."""


class PeerLink(Generic[_T]):
    """`receive` raises ``ConnectionError`` with the reason when the other side is gone, silent or forged."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        key: bytes,
        leads: bool,
        decoder: "msgspec.json.Decoder[_T]",
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key
        self._out, self._in = (b"L", b"M") if leads else (b"M", b"L")
        self._sent = self._received = 0
        self._decoder = decoder
        self._beating = asyncio.create_task(self._beat(), name="heartbeat")

    def send(self, message: Struct) -> None:
        """Never waits: the messages are few and small."""
        if self._writer.is_closing():
            return
        text = encoder.encode(message)
        self._writer.write(self._code(self._out, self._sent, text) + b" " + text + b"\n")
        self._sent += 1

    async def send_piece(self, data: bytes) -> None:
        """Bytes of a file, as they are, behind a `Piece`; waits while the other side does not take them.
        Raises ``ConnectionError``."""
        if self._writer.is_closing():
            raise ConnectionError("the connection was closed")
        self.send(Piece(size=len(data)))
        self._writer.write(data + self._code(self._out, self._sent, data))
        self._sent += 1
        with _heard():
            async with asyncio.timeout(SILENCE_SECONDS):
                await self._writer.drain()

    async def receive_piece(self, piece: Piece) -> bytes:
        """What follows that message. Raises ``ConnectionError``."""
        with _heard():
            async with asyncio.timeout(SILENCE_SECONDS):
                raw = await self._reader.readexactly(piece.size + 2 * _CODE_BYTES)
        data, code = raw[: piece.size], raw[piece.size :]
        if not hmac.compare_digest(code, self._code(self._in, self._received, data)):
            raise ConnectionError("a piece was forged or lost on the way")
        self._received += 1
        return data

    async def receive(self) -> _T:
        """The next message that is no heartbeat."""
        while True:
            with _heard():
                async with asyncio.timeout(SILENCE_SECONDS):
                    raw = await self._reader.readline()
            if not raw.endswith(b"\n"):
                raise ConnectionError("the connection was closed")
            code, _, text = raw[:-1].partition(b" ")
            if not hmac.compare_digest(code, self._code(self._in, self._received, text)):
                raise ConnectionError("a line was forged or lost on the way")
            self._received += 1
            try:
                message = self._decoder.decode(text)
            except msgspec.MsgspecError as error:
                raise ConnectionError(f"a message is not understood: {error}") from None
            if not isinstance(message, Beat):
                return message

    @property
    def closed(self) -> bool:
        return self._writer.is_closing()

    def cut(self) -> None:
        """Leave at once: what was not sent is not."""
        self._beating.cancel()
        self._writer.transport.abort()

    async def close(self) -> None:
        """Send what is left (2 s at most) and leave."""
        self._beating.cancel()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.drain(), 2)
        self._writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), 2)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            self.send(Beat())

    def _code(self, direction: bytes, number: int, text: bytes) -> bytes:
        return _code(self._key, direction, str(number).encode(), text)


async def accept(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    secret: bytes,
    decoder: "msgspec.json.Decoder[_T]",
) -> PeerLink[_T]:
    """The leader's side of the handshake. Raises `Untrusted` or ``OSError``."""
    async with _limit():
        greeting, _, theirs = (await _line(reader)).partition(b" ")
        if greeting != _GREETING:
            raise Untrusted("no agent of this version")
        ours = _nonce()
        writer.write(ours + b" " + _code(secret, b"leader", theirs, ours) + b"\n")
        if not hmac.compare_digest(await _line(reader), _code(secret, b"member", theirs, ours)):
            raise Untrusted("an agent of another run")
    return PeerLink(reader, writer, _session(secret, theirs, ours), True, decoder)


async def greet(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    secret: bytes,
    decoder: "msgspec.json.Decoder[_T]",
) -> PeerLink[_T]:
    """The member's side of the handshake. Raises `Untrusted` or ``OSError``."""
    async with _limit():
        ours = _nonce()
        writer.write(_GREETING + b" " + ours + b"\n")
        theirs, _, code = (await _line(reader)).partition(b" ")
        if not hmac.compare_digest(code, _code(secret, b"leader", ours, theirs)):
            raise Untrusted("something else than the leader's agent of this run listens there")
        writer.write(_code(secret, b"member", ours, theirs) + b"\n")
    return PeerLink(reader, writer, _session(secret, ours, theirs), False, decoder)


@contextmanager
def _heard() -> Generator[None]:
    """What a connection's end looks like, in words."""
    try:
        yield
    except TimeoutError:
        raise ConnectionError(f"nothing was heard for {SILENCE_SECONDS:.0f} s") from None
    except asyncio.IncompleteReadError:
        raise ConnectionError("the connection was closed") from None
    except OSError as error:
        raise ConnectionError(error.strerror or str(error)) from None
    except ValueError:
        raise ConnectionError("a line is too long") from None


def _limit() -> Any:
    return asyncio.timeout(HANDSHAKE_SECONDS)


async def _line(reader: asyncio.StreamReader) -> bytes:
    try:
        raw = await reader.readline()
    except ValueError:
        raise Untrusted("no agent of this version") from None
    if not raw.endswith(b"\n"):
        raise ConnectionResetError("the connection was closed during the handshake")
    return raw[:-1]


def _nonce() -> bytes:
    return secrets.token_hex(16).encode()


def _session(secret: bytes, member: bytes, leader: bytes) -> bytes:
    return hmac.digest(secret, b"session " + member + b" " + leader, hashlib.sha256)


def _code(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, b"\0".join(parts), hashlib.sha256)[:_CODE_BYTES].hex().encode()
