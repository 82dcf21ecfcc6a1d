"""The bytes that one token stands for, from the tokenizer's vocabulary: decoding tokens one by one would lose
leading spaces and parts of characters.

Three ways are in use to write bytes in a vocabulary: one character for each byte (byte-level BPE,
GPT-2's table), ``<0xE2>`` for single bytes beside text with ``\u2581`` for a space (SentencePiece), and
plain text (added tokens). Knows nothing of requests.
"""

import json
import re
from collections.abc import Callable
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>$")
_SPACE = "\u2581"


class TokenBytes:
    """``tokenizer`` is one of transformers'."""

    def __init__(self, tokenizer: Any) -> None:
        backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        self._to_piece: Any = _of_slow(tokenizer) if backend is None else backend.id_to_token
        self._added: dict[int, str] = {
            int(token): str(added.content) for token, added in tokenizer.added_tokens_decoder.items()
        }
        self._table = _byte_level() if backend is not None and _is_byte_level(backend.decoder) else None

    def __call__(self, token: int) -> bytes:
        """Nothing for an id that the vocabulary does not have: heads are often padded."""
        if token in self._added:
            return self._added[token].encode()
        piece: str | None = self._to_piece(token)
        if piece is None:
            return b""
        if self._table is not None:
            return b"".join(
                bytes([self._table[letter]]) if letter in self._table else letter.encode() for letter in piece
            )
        if byte := _BYTE.match(piece):
            return bytes([int(byte[1], 16)])
        return piece.replace(_SPACE, " ").encode()


def _of_slow(tokenizer: Any) -> Callable[[int], str | None]:
    """SentencePiece's own raises for an id that it does not have."""
    size = len(tokenizer)
    return lambda token: tokenizer.convert_ids_to_tokens(token) if token < size else None


def _is_byte_level(decoder: Any) -> bool:
    """A decoder tells what it is made of as JSON; it may be a sequence of others."""
    if decoder is None:
        return False
    made_of: dict[str, Any] = json.loads(decoder.__getstate__())
    return any(part["type"] == "ByteLevel" for part in (made_of, *made_of.get("decoders", ())))


def _byte_level() -> dict[str, int]:
    """GPT-2's characters for bytes: the printable ones of Latin-1 for themselves, from U+0100 on for the
    others, in order. (Radford et al., 2019, encoder.py)"""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
