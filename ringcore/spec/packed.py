"""A grammar as text that is short on the ring: packed where it is long. Knows nothing of what is in it."""

import base64
import zlib

MAX_TEXT_BYTES = 64 << 10  # unpacked: a longer one takes too long to read between two steps
_SHORT_BYTES = 2 << 10
_PACKED = "zlib:"  # no grammar begins so


def pack(text: str) -> str:
    """In a fifth of the bytes or less, as schemas go."""
    data = text.encode()
    return text if len(data) <= _SHORT_BYTES else _PACKED + base64.b85encode(zlib.compress(data, 9)).decode()


def unpack(text: str) -> str:
    """What was packed. Raises ``ValueError``."""
    if not text.startswith(_PACKED):
        return text
    unpacker = zlib.decompressobj()
    try:
        data = unpacker.decompress(base64.b85decode(text.removeprefix(_PACKED)), MAX_TEXT_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not unpacker.eof:
        raise ValueError(f"more than {MAX_TEXT_BYTES} bytes, or cut off")
    return data.decode()
