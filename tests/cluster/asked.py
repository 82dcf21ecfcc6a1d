"""An SSH server with accounts as people have them, and an operator who answers what they were told to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh

from console.ports import HostKeyShown, SecretWanted


class Told:
    """Answers in order, by kind; nothing is left to say: declines. ``asked`` is what was wanted."""

    def __init__(self, *, trust: bool = True, **answers: list[str]) -> None:
        self.asked: list[HostKeyShown | SecretWanted] = []
        self._trust = trust
        self._answers = answers
        self._busy = False

    async def trust(self, shown: HostKeyShown) -> bool:
        await self._alone(shown)
        return self._trust

    async def agree(self, question: str) -> bool:
        return False

    async def secret(self, wanted: SecretWanted) -> str | None:
        await self._alone(wanted)
        left = self._answers.get(wanted.kind, [])
        return left.pop(0) if left else None

    async def _alone(self, question: HostKeyShown | SecretWanted) -> None:
        assert not self._busy, "two questions at once"
        self._busy = True
        self.asked.append(question)
        await asyncio.sleep(0)
        self._busy = False

    @property
    def kinds(self) -> list[str]:
        return ["trust" if isinstance(one, HostKeyShown) else one.kind for one in self.asked]


class Account(asyncssh.SSHServer):
    """``questions``: prompts of keyboard-interactive, each with its answer."""

    def __init__(self, password: str, questions: dict[str, str]) -> None:
        self._password = password
        self._questions = questions

    def password_auth_supported(self) -> bool:
        return bool(self._password)

    def validate_password(self, username: str, password: str) -> bool:
        return password == self._password

    def kbdint_auth_supported(self) -> bool:
        return bool(self._questions)

    def get_kbdint_challenge(self, username: str, lang: str, submethods: str) -> object:
        return "", "", "", [(prompt, False) for prompt in self._questions]

    def validate_kbdint_response(self, username: str, responses: list[str]) -> bool:
        return responses == list(self._questions.values())


@asynccontextmanager
async def account(
    *keys: asyncssh.SSHKey,
    password: str = "",
    questions: dict[str, str] | None = None,
    host_key: asyncssh.SSHKey | None = None,
) -> AsyncIterator[tuple[int, asyncssh.SSHKey]]:
    """Its port and its host key."""
    host_key = host_key or asyncssh.generate_private_key("ssh-ed25519")
    authorized = "".join(key.export_public_key().decode() for key in keys)
    server = await asyncssh.create_server(
        lambda: Account(password, questions or {}),
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(authorized) if authorized else None,
        process_factory=lambda process: process.exit(0),
    )
    try:
        yield server.get_port(), host_key
    finally:
        server.close()
        await server.wait_closed()


def write_key(
    file: Path, passphrase: str = "", kind: str = "ed25519", form: str = "openssh"
) -> asyncssh.SSHKey:
    """A new private key; without a .pub beside it."""
    algorithm = {"ed25519": "ssh-ed25519", "rsa": "ssh-rsa"}[kind]
    key = asyncssh.generate_private_key(algorithm, **({"key_size": 2048} if kind == "rsa" else {}))
    file.write_bytes(
        key.export_private_key(form, passphrase=passphrase or None, rounds=1, ignore_few_rounds=True)
    )
    file.chmod(0o600)
    return key
