"""Server-sent events of the ring's API as they arrive, and how a stream that ends too early is told.

Knows nothing of what the events say.
"""

from collections.abc import AsyncGenerator, AsyncIterator

from ringcore.spec.errors import ApiError

LOGS = "see why with `mlxring logs`, and whether the ring serves with `mlxring status`"


async def events(parts: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The data of each event up to ``[DONE]``. Raises `ApiError` when they end before it."""
    lines = Lines()
    async for part in parts:
        for data in lines.push(part):
            if data == b"[DONE]":
                return
            yield data
    raise broke_off("the connection closed")


class Lines:
    """Server-sent events, cut anywhere: bytes in, the data of whole events out.

    https://html.spec.whatwg.org/multipage/server-sent-events.html; only the field ``data`` is of use
    here, and a line ends in LF or CRLF. Text in JSON may hold every other kind of line end.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def push(self, part: bytes) -> list[bytes]:
        *lines, self._rest = (self._rest + part).split(b"\n")
        events: list[bytes] = []
        for line in lines:
            field = line.removesuffix(b"\r")
            if field.startswith(b"data:"):
                self._data.append(field.removeprefix(b"data:").removeprefix(b" "))
            elif not field and self._data:  # an empty line ends an event
                events.append(b"\n".join(self._data))
                self._data = []
        return events


def broke_off(why: str) -> ApiError:
    return ApiError(f"the answer broke off: {why}", LOGS)
