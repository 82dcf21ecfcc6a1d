"""A command at a terminal: what it shows, and what the operator types when it asks."""

import fcntl
import os
import pty
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence


class Seat:
    """``argv`` with a terminal of its own as standard input; output and errors go there too."""

    def __init__(self, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.shown = ""
        self._hands, screen = pty.openpty()
        os.set_blocking(self._hands, False)
        self._process = subprocess.Popen(
            argv, env=env, stdin=screen, stdout=screen, stderr=screen, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(screen)
        self._read = 0

    def types(self, text: str, after: str, within: float = 30) -> None:
        """``text`` and enter, once the screen has shown ``after`` since the last time."""
        self.presses(f"{text}\n", after, within)

    def presses(self, keys: str, after: str, within: float = 30) -> None:
        deadline = time.monotonic() + within
        while after not in self.shown[self._read :]:
            assert time.monotonic() < deadline and self._look(), f"{after!r} was not shown: {self.shown}"
        self._read = self.shown.index(after, self._read) + len(after)
        os.write(self._hands, keys.encode())

    def end(self, within: float = 60) -> int:
        """The exit code."""
        deadline = time.monotonic() + within
        try:
            while self._look():
                assert time.monotonic() < deadline, f"it did not end: {self.shown}"
            return self._process.wait(max(1.0, deadline - time.monotonic()))
        finally:
            self._process.kill()
            self._process.wait(10)
            os.close(self._hands)

    def _look(self) -> bool:
        """False when nothing will be shown any more."""
        ready, _, _ = select.select([self._hands], [], [], 0.5)
        if not ready:
            return True
        try:
            data = os.read(self._hands, 1 << 16)
        except OSError:  # nobody has the terminal open any more
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)
