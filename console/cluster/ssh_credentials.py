"""What else may be shown after a server has refused a login: a key unlocked, a password, answers.

In OpenSSH's order, and each is asked for between two connections, so that no server's patience counts.
Needs asyncssh.
"""

import asyncio
from pathlib import Path
from typing import cast

import asyncssh

from console.cluster.answers import Answers
from console.cluster.ssh_attempt import Attempt, Given
from console.ports import SecretWanted

_TRIES = 3
_DEFAULT_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")


class Credentials:
    """Of one login at one server; ``given`` is what its next attempt may show."""

    def __init__(self, answers: Answers) -> None:
        self.given = Given()
        self.host_key_asked = False
        self._answers = answers
        self._unlocked: set[str] = set()
        self._passwords = 0
        self._rounds = 0

    async def more(self, attempt: Attempt) -> bool:
        """Ask for something new after a refusal. False: there is nothing, or nobody to ask."""
        return await self._unlock(attempt) or await self._password(attempt) or await self._answer(attempt)

    async def _unlock(self, attempt: Attempt) -> bool:
        for file in attempt.witness.locked:
            if file not in self._unlocked and await self._unlocked_now(attempt, file):
                self._unlocked.add(file)
                self.given.keys.append(cast(asyncssh.SSHKey, self._answers.keys[file]))
                return True
        return False

    async def _unlocked_now(self, attempt: Attempt, file: str) -> bool:
        async def use(passphrase: str) -> bool:
            key = await asyncio.to_thread(unlocked, file, passphrase)
            if key is not None:
                self._answers.keys[file] = key
            return key is not None

        wanted = SecretWanted(host=attempt.name, kind="passphrase", of=file)
        return await self._answers.secret(wanted, use, lambda: file in self._answers.keys)

    async def _password(self, attempt: Attempt) -> bool:
        passwords, account, wrong = self._answers.passwords, attempt.account, self.given.password
        if wrong is not None and passwords.get(account) == wrong:
            del passwords[account]
        if not attempt.witness.takes_password or self._passwords == _TRIES:
            return False

        async def use(password: str) -> bool:
            passwords[account] = password
            return True

        wanted = SecretWanted(host=attempt.name, kind="password", of=account, again=wrong is not None)
        if not await self._answers.secret(wanted, use, lambda: account in passwords):
            self.given.password = None
            return False
        self._passwords += 1
        self.given.password = passwords[account]
        return True

    async def _answer(self, attempt: Attempt) -> bool:
        witness = attempt.witness
        if not witness.takes_answers or not attempt.can_ask:
            return False
        if not self.given.challenged:
            self.given.challenged = True  # the next attempt hears what is asked
            return True
        if witness.challenge is None or self._rounds == _TRIES:
            return False
        self._rounds += witness.repeated
        if witness.repeated:
            self.given.answers.clear()
        said = await self._answers.challenge(
            attempt.name, attempt.account, witness.challenge, witness.repeated
        )
        if said is None:
            return False
        self.given.answers[witness.challenge] = said
        return True


def unlocked(file: str, passphrase: str) -> asyncssh.SSHKey | None:
    """The private key of ``file``; None when that is not its passphrase."""
    try:
        return asyncssh.read_private_key(file, passphrase)
    except (OSError, ValueError):
        return None


def locked_files(options: asyncssh.SSHClientConnectionOptions) -> list[str]:
    """Files of this login's keys that have a passphrase."""
    named = options.config.get("IdentityFile")
    files = [Path(str(file)).expanduser() for file in named] if isinstance(named, list) else []
    files = files or [Path("~/.ssh").expanduser() / name for name in _DEFAULT_KEYS]
    return [str(file) for file in files if _is_locked(file)]


def _is_locked(file: Path) -> bool:
    try:
        asyncssh.read_private_key(file)
    except asyncssh.KeyImportError as error:
        return str(error).startswith("Passphrase")
    except (OSError, ValueError):
        pass
    return False
