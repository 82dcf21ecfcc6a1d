"""Asks the operator on the terminal: is this the host's key, what is the passphrase, may this be replaced.

What is typed is not shown, goes into no log, and the terminal is as it was when the question is broken off.
"""

import asyncio
import os
import select
import sys
import termios
from contextlib import suppress

from console.logs.text import safe_line
from console.ports import HostKeyShown, SecretWanted

_MOST_BYTES = 4096  # of a line, as terminals have it
_ECHO = 3  # place of the local modes in what tcgetattr gives


def terminal() -> "Terminal | None":
    """None where nobody sits: standard input is no terminal, or the command runs in the background."""
    try:
        here = sys.stdin.isatty() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return None
    return Terminal() if here else None


class Terminal:
    """See `console.ports.Asker`."""

    def __init__(self, path: str = "/dev/tty") -> None:
        self._path = path

    async def trust(self, shown: HostKeyShown) -> bool:
        text = (
            f"{shown.host}: nobody has vouched for the key of {shown.server} yet. It shows\n"
            f"  {shown.algorithm} {shown.fingerprint}\n"
            "(on the host itself, `ssh-keygen -lf` of /etc/ssh/ssh_host_*_key.pub shows what it should be)\n"
        )
        while True:
            answer = await self._ask(text + "Is that its key? It is kept in known_hosts then [yes/no] ", True)
            if answer is None or answer.strip().lower() in ("no", "n"):
                return False
            if answer.strip().lower() == "yes":
                return True
            text = "Please answer yes or no. "

    async def agree(self, question: str) -> bool:
        answer = await self._ask(f"{safe_line(question)} [y/N] ", True)
        return answer is not None and answer.strip().lower() in ("y", "yes")

    async def secret(self, wanted: SecretWanted) -> str | None:
        return await self._ask(question(wanted) + " ", wanted.echo)

    async def _ask(self, prompt: str, echo: bool) -> str | None:
        """One line that is typed; None at the end of the input (ctrl+d) or without a terminal."""
        try:
            tty = os.open(self._path, os.O_RDWR | os.O_NOCTTY)
        except OSError:
            return None
        awake, wake = os.pipe()
        before = termios.tcgetattr(tty)
        quiet = [*before[:_ECHO], before[_ECHO] & ~termios.ECHO, *before[_ECHO + 1 :]]
        reading: asyncio.Future[str | None] | None = None
        try:
            termios.tcsetattr(tty, termios.TCSAFLUSH, before if echo else quiet)
            os.write(tty, prompt.encode())
            # in a thread: kqueue does not take terminals
            reading = asyncio.get_running_loop().run_in_executor(None, _line, tty, awake)
            return await asyncio.shield(reading)
        finally:
            os.write(wake, b"x")
            if reading is not None:
                with suppress(OSError):
                    await asyncio.wait({reading})
            termios.tcsetattr(tty, termios.TCSADRAIN, before)
            if not echo:
                os.write(tty, b"\n")
            for handle in (tty, awake, wake):
                os.close(handle)


def question(wanted: SecretWanted) -> str:
    """What is wanted, in one safe line."""
    again = "That was not right. " if wanted.again else ""
    match wanted.kind:
        case "passphrase":
            text = f"Passphrase of {wanted.of}:"
        case "password":
            text = f"Password of {wanted.of}:"
        case "answer":
            text = f"{wanted.of} asks: {wanted.prompt.strip()}"
    return safe_line(f"{again}{wanted.host}: {text}".replace("\n", " "))


def _line(tty: int, awake: int) -> str | None:
    ready, _, _ = select.select([tty, awake], [], [])
    if awake in ready:
        return None
    data = os.read(tty, _MOST_BYTES)
    return data.decode(errors="replace").rstrip("\r\n") if data else None
