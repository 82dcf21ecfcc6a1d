"""One login at one server: what it may show, how far it came, how long each phase takes. Needs asyncssh."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import asyncssh

from console.cluster.answers import Challenge
from console.cluster.known_hosts import Place
from console.cluster.target import Patience, Target

Phase = Literal["connect", "exchange", "login"]


@dataclass
class Given:
    """What a login may show beside the keys that are found. ``challenged``: take the server's questions."""

    keys: list[asyncssh.SSHKey] = field(default_factory=list)
    password: str | None = None
    challenged: bool = False
    answers: dict[Challenge, Sequence[str]] = field(default_factory=dict)


class Witness(asyncssh.SSHClient):
    """Sees how far a login came and what the server would take. Trusts no key of its own accord.

    ``locked``: files of keys that the server would take and that have a passphrase. ``challenge``: questions
    it asked that had no answer; ``repeated``: the answers it had were wrong.
    """

    def __init__(self, given: Given, patience: Patience) -> None:
        self.phase: Phase = "connect"
        self.offered: asyncssh.SSHKey | None = None
        self.place = Place("", "", 22)
        self.locked: list[str] = []
        self.takes_password = False
        self.takes_answers = False
        self.challenge: Challenge | None = None
        self.repeated = False
        self._given = given
        self._keys = list(given.keys)
        self._password = given.password
        self._answered: set[Challenge] = set()
        self._patience = patience
        self._limit: asyncio.Timeout | None = None

    def limited(self) -> asyncio.Timeout:
        """The time-out to make the connection in; it moves on with the phases."""
        self._limit = asyncio.timeout(self._patience.connect)
        return self._limit

    def reach(self, phase: Phase) -> None:
        self.phase = phase
        if self._limit is not None:
            seconds = getattr(self._patience, phase)
            self._limit.reschedule(asyncio.get_running_loop().time() + seconds)

    def passphrase(self, file: str) -> None:
        """Notes that this key would be taken; it is unlocked for the next login."""
        file = str(Path(file).expanduser())
        if file not in self.locked:
            self.locked.append(file)

    # what asyncssh asks ------------------------------------------------------------------------------
    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self.reach("exchange")

    def begin_auth(self, username: str) -> None:
        self.reach("login")

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self.offered = key
        self.place = Place(host, addr, port)
        return False

    def public_key_auth_requested(self) -> asyncssh.SSHKey | None:  # pyright: ignore
        return self._keys.pop(0) if self._keys else None

    def password_auth_requested(self) -> str | None:
        self.takes_password = True
        password, self._password = self._password, None
        return password

    def kbdint_auth_requested(self) -> str | None:
        self.takes_answers = True
        return "" if self._given.challenged else None

    def kbdint_challenge_received(
        self, name: str, instructions: str, lang: str, prompts: "Sequence[tuple[str, bool]]"
    ) -> "Sequence[str] | None":
        challenge = tuple(prompts)
        if not challenge:
            return []
        answers = self._given.answers.get(challenge)
        if answers is None or challenge in self._answered:
            self.repeated |= answers is not None
            self.challenge = challenge
            return None
        self._answered.add(challenge)
        return answers


@dataclass
class Attempt:
    """One login: for which host of the profile, at which server, and how far it came.

    ``via`` names the jump host it went through, ``is_jump`` says that the server is one itself.
    ``can_ask``: somebody could be asked for a passphrase or a password.
    """

    name: str
    target: Target
    witness: Witness
    patience: Patience
    options: asyncssh.SSHClientConnectionOptions | None = None
    is_jump: bool = False
    via: str = ""
    can_ask: bool = False

    @property
    def where(self) -> str:
        """The server in words: as it was called, and where that led."""
        called = self.target.host
        host = self.options.host if self.options is not None else called
        port = (self.options.port if self.options is not None else None) or self.target.port or 22
        place = f"{called} port {port}" if host == called else f"{called} ({host} port {port})"
        return f"the jump host {place}" if self.is_jump else place

    @property
    def account(self) -> str:
        """``user@server``, as the operator would say it."""
        user = self.options.username if self.options is not None else self.target.user or ""
        return f"{user}@{self.target.place}"
