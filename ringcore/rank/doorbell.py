"""Sleeps until something is there to be received.

MLX's ring spins in a receive. A rank that waited so for its neighbour would slow the rank that computes on
the same host (by a tenth, on two cores), and keep a machine warm for nothing. So the sockets that MLX opens
are watched from outside: nothing is read from them here, what becomes readable is left to MLX.
"""

import contextlib
import os
import selectors
import socket
import stat
from collections.abc import Generator
from pathlib import Path


class Doorbell:
    """``wait`` returns when one of the connections opened within ``listening`` has data, or has ended."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    @contextlib.contextmanager
    def listening(self) -> Generator[None]:
        """Watch the connections that are opened inside and still open at its end."""
        before = _connections()
        yield
        for descriptor in _connections() - before:
            self._selector.register(descriptor, selectors.EVENT_READ)

    def wait(self) -> None:
        """At once where there is no socket to watch."""
        if self._selector.get_map():
            self._selector.select()

    @property
    def rung(self) -> bool:
        """Whether `wait` would return at once because something is there."""
        return bool(self._selector.get_map() and self._selector.select(0))


def _connections() -> set[int]:
    """Connected sockets only: MLX leaves those of failed attempts open, which would ring for ever."""
    found: set[int] = set()
    for entry in Path("/dev/fd").iterdir():
        descriptor = int(entry.name)
        with contextlib.suppress(OSError):  # the listing's own descriptor is closed by now
            if stat.S_ISSOCK(os.fstat(descriptor).st_mode) and _connected(descriptor):
                found.add(descriptor)
    return found


def _connected(descriptor: int) -> bool:
    view = socket.socket(fileno=descriptor)
    try:
        view.getpeername()
    except OSError:
        return False
    finally:
        view.detach()  # it stays MLX's
    return True
