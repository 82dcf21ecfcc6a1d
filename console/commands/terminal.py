"""Asks the operator on the terminal: is this the host's key, what is the passphrase, may this be replaced.

What is typed is not shown, goes into no log, and the terminal is as it was when the question is broken off.
"""

import asyncio
import os
import select
import sys
import termios
from contextlib import suppress
from typing import TextIO

from console.logs.text import safe_line
from console.ports import HostKeyShown, SecretWanted
from ringcore.spec.errors import ProfileError

_MOST_BYTES = 4096  # of a line, as terminals have it
_ECHO = 3  # place of the local modes in what tcgetattr gives


def terminal() -> "Terminal | None":
    """None where nobody sits: standard input is no terminal, or the command runs in the background."""
    try:
        here = types_here() and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return None
    return Terminal() if here else None


def types_here() -> bool:
    """Standard input is a terminal. It may be closed, or none at all."""
    return _is_terminal(sys.stdin)


def need_screen(instead: str) -> None:
    """Raises `ProfileError` where the console could not be drawn, which needs keys and a terminal to draw on
    (standard error, so that output may go elsewhere)."""
    if not (types_here() and _is_terminal(sys.stderr)):
        raise ProfileError("the console needs a terminal, and there is none here", instead)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed
        return False


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
        before = termios.tcgetattr(tty)
        quiet = [*before[:_ECHO], before[_ECHO] & ~termios.ECHO, *before[_ECHO + 1 :]]
        try:
            termios.tcsetattr(tty, termios.TCSAFLUSH, before if echo else quiet)
            os.write(tty, prompt.encode())
            return await typed(tty)
        finally:
            termios.tcsetattr(tty, termios.TCSADRAIN, before)
            if not echo:
                os.write(tty, b"\n")
            os.close(tty)


async def typed(tty: int) -> str | None:
    """One line that is typed at the terminal ``tty``; None at the end of the input (ctrl+d).

    May be broken off: nobody reads there any more then."""
    awake, wake = os.pipe()
    # in a thread: kqueue does not take terminals
    reading = asyncio.get_running_loop().run_in_executor(None, _line, tty, awake)
    try:
        return await asyncio.shield(reading)
    finally:
        os.write(wake, b"x")
        with suppress(OSError):
            await asyncio.wait({reading})
        os.close(awake)
        os.close(wake)


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
