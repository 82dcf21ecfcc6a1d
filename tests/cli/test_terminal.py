"""Questions on a real terminal: what is typed is not shown, and the terminal is as it was afterwards."""

import asyncio
import os
import pty
import termios
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from console.commands.terminal import Terminal, terminal
from console.ports import HostKeyShown, SecretWanted

SHOWN = HostKeyShown(host="mini1", server="10.0.0.1", algorithm="ssh-ed25519", fingerprint="SHA256:abc")


@dataclass
class Seat:
    """The operator's side of a terminal."""

    path: str
    hands: int
    shown: str = ""

    async def types(self, text: str, after: str) -> None:
        """``text``, once the screen has said ``after``."""
        await self.sees(after)
        os.write(self.hands, text.encode())

    async def sees(self, text: str) -> None:
        async with asyncio.timeout(5):
            while text not in self.shown:
                await asyncio.sleep(0.005)
                self.look()

    def look(self) -> None:
        with suppress(BlockingIOError):
            self.shown += os.read(self.hands, 65536).decode()

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.hands)[3] & termios.ECHO)


@pytest.fixture
async def seat() -> AsyncIterator[Seat]:
    hands, screen = pty.openpty()
    os.set_blocking(hands, False)
    yield Seat(os.ttyname(screen), hands)
    os.close(hands)
    os.close(screen)


async def test_a_passphrase_is_read_and_not_shown(seat: Seat) -> None:
    wanted = SecretWanted(host="mini1", kind="passphrase", of="~/.ssh/id")
    asking = asyncio.create_task(Terminal(seat.path).secret(wanted))
    await seat.types("pass word\n", "mini1: Passphrase of ~/.ssh/id: ")
    assert await asking == "pass word"
    seat.look()
    assert "pass" not in seat.shown
    assert seat.echoes


async def test_a_question_that_is_broken_off_leaves_the_terminal_as_it_was(seat: Seat) -> None:
    asking = asyncio.create_task(
        Terminal(seat.path).secret(SecretWanted(host="h", kind="password", of="a@b"))
    )
    await seat.sees("Password of a@b: ")
    assert not seat.echoes
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await asking
    assert seat.echoes


async def test_the_end_of_the_input_is_no_answer(seat: Seat) -> None:
    asking = asyncio.create_task(
        Terminal(seat.path).secret(SecretWanted(host="h", kind="password", of="a@b"))
    )
    await seat.types("\x04", "Password of a@b: ")
    assert await asking is None


@pytest.mark.parametrize(("typed", "trusted"), [("yes\n", True), ("no\n", False), ("\x04", False)])
async def test_a_new_host_key_needs_a_plain_yes(seat: Seat, typed: str, trusted: bool) -> None:
    asking = asyncio.create_task(Terminal(seat.path).trust(SHOWN))
    await seat.types("y\n", "[yes/no]")
    await seat.types(typed, "Please answer yes or no")
    assert await asking is trusted
    assert "ssh-ed25519 SHA256:abc" in seat.shown and "10.0.0.1" in seat.shown


async def test_what_a_server_asks_cannot_move_the_cursor(seat: Seat) -> None:
    wanted = SecretWanted(host="h", kind="answer", of="a@b", prompt="Tok\x1b[2Jen\x07\n: ", echo=True)
    asking = asyncio.create_task(Terminal(seat.path).secret(wanted))
    await seat.types("42\n", "asks: Tok")
    assert await asking == "42"
    assert "\x1b" not in seat.shown and "\x07" not in seat.shown


def test_nobody_is_asked_where_standard_input_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull) as nothing:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", nothing)
        assert terminal() is None


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("Yes\n", True), ("\n", False), ("no\n", False)]
)
async def test_anything_but_a_yes_replaces_nothing(seat: Seat, typed: str, agreed: bool) -> None:
    asking = asyncio.create_task(Terminal(seat.path).agree("Replace it?\x1b[2J"))
    await seat.types(typed, "[y/N]")
    assert await asking is agreed
    assert "\x1b" not in seat.shown
