"""Argument lists as text for the remote login shell, framed so that its start-up noise can be told apart.

The text means the same to every POSIX shell and to fish. Knows nothing of connections.
"""

import re
from collections.abc import Sequence

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
# "$0" is the marker; the process group of what runs afterwards has this pid
_FRAMED = 'echo; echo "$0 $$"; exec "$@"'


def quote(text: str) -> str:
    """One word for the shell. Not `shlex.quote`: between single quotes fish still reads backslashes."""
    if _PLAIN.fullmatch(text):
        return text
    parts = re.split(r"(['\\]+)", text)
    return "".join(_quote_part(part) for part in parts if part) or "''"


def _quote_part(part: str) -> str:
    if part[0] in "'\\":
        return '"' + part.replace("\\", "\\\\") + '"'
    return f"'{part}'"


def framed_command(argv: Sequence[str], marker: str, env: dict[str, str] | None = None) -> str:
    """The command line that prints ``<newline><marker> <pid><newline>`` and becomes ``argv``.

    The environment travels as arguments of ``env``: most SSH servers refuse it otherwise.
    Raises `ValueError` when a word holds a NUL, which no process can be given.
    """
    words = list(argv)
    if env:
        words = ["/usr/bin/env", *(f"{key}={value}" for key, value in env.items()), *words]
    if any("\0" in word for word in words):
        raise ValueError("a command's argument holds a NUL character")
    return "exec " + " ".join(quote(word) for word in ("/bin/sh", "-c", _FRAMED, marker, *words))


class Unframer:
    """Drops output up to the marker's line; ``pid`` is set when that has come."""

    def __init__(self, marker: str) -> None:
        self.pid: int | None = None
        self._marker = re.compile(rb"(?:^|\n)" + re.escape(marker.encode()) + rb" ([0-9]+)\r?\n")
        self._before = b""

    def feed(self, data: bytes) -> bytes:
        """The command's own part of ``data``."""
        if self.pid is not None:
            return data
        self._before += data
        match = self._marker.search(self._before)
        if match is None:
            return b""
        self.pid = int(match[1])
        return self._before[match.end() :]

    @property
    def noise(self) -> str:
        """What came instead of the marker."""
        return self._before.decode(errors="replace").strip()[-200:]
