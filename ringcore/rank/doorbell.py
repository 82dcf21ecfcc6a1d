"""Sleeps until something is there to be received.

MLX's ring spins in a receive. A rank that waited so for its neighbour would slow the rank that computes on
the same host (by a tenth, on two cores), and keep a machine warm for nothing. So the sockets that MLX opens
are watched from outside: nothing is read from them here, what becomes readable is left to MLX.
"""

import contextlib
import os
import selectors
import stat
from collections.abc import Generator
from pathlib import Path


class Doorbell:
    """``wait`` returns when one of the sockets opened within ``listening`` has data, or has ended."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._count = 0

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Watch the sockets that are opened inside and still open at its end."""
        before = _sockets()
        yield
        for descriptor in _sockets() - before:
            self._selector.register(descriptor, selectors.EVENT_READ)
            self._count += 1

    def wait(self) -> None:
        """At once where there is no socket to watch."""
        if self._count:
            self._selector.select()


def _sockets() -> set[int]:
    found: set[int] = set()
    for entry in Path("/dev/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
            if stat.S_ISSOCK(os.fstat(int(entry.name)).st_mode):
                found.add(int(entry.name))
    return found
