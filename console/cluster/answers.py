"""What the operator has answered about logins in this session: host keys, keys with a passphrase, passwords.

Asks one question at a time, and each once, however many hosts wait for the answer. Everything is in memory
only and gone with `forget`. Knows nothing of SSH.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec import structs

from console.ports import Asker, HostKeyShown, SecretWanted

_TRIES = 3
Challenge = tuple[tuple[str, bool], ...]  # a server's prompts, each with whether the answer may be seen


class Answers:
    """``asker`` None: there is nobody to ask. ``accept_new_host_keys``: yes to every first contact."""

    def __init__(self, asker: Asker | None = None, *, accept_new_host_keys: bool = False) -> None:
        self.can_ask = asker is not None
        self.accepts_new = accept_new_host_keys
        self.keys: dict[str, object] = {}  # private keys that were unlocked, by file
        self.passwords: dict[str, str] = {}  # by user@server
        self._asker = asker
        self._declined: set[tuple[str, str]] = set()
        self._one_at_a_time = asyncio.Lock()

    def __repr__(self) -> str:  # never what is in it
        return f"Answers(can_ask={self.can_ask})"

    async def trusts(self, shown: HostKeyShown, known: Callable[[], bool], keep: Callable[[], None]) -> bool:
        """Whether a host key may be trusted from now on; then ``keep`` was called, or ``known`` was true
        because another host's login had asked."""
        async with self._one_at_a_time:
            if known():
                return True
            if not self.accepts_new:
                question = (shown.server, shown.fingerprint)
                if self._asker is None or question in self._declined:
                    return False
                if not await self._asker.trust(shown):
                    self._declined.add(question)
                    return False
            keep()
            return True

    async def secret(
        self, wanted: SecretWanted, use: Callable[[str], Awaitable[bool]], had: Callable[[], bool]
    ) -> bool:
        """Ask until ``use`` takes the answer, three times at most. Nothing is asked when ``had`` is true by
        then, because another host's login has asked."""
        question = (wanted.kind, wanted.of)
        async with self._one_at_a_time:
            for tried in range(_TRIES):
                if had():
                    return True
                if self._asker is None or question in self._declined:
                    return False
                answer = await self._asker.secret(structs.replace(wanted, again=wanted.again or tried > 0))
                if answer is None:
                    self._declined.add(question)
                    return False
                if await use(answer):
                    return True
            return False

    async def challenge(self, host: str, of: str, prompts: Challenge, again: bool) -> Sequence[str] | None:
        """Answers to all of a server's prompts, which are kept nowhere; None when one has none."""
        async with self._one_at_a_time:
            said: list[str] = []
            for prompt, echo in prompts:
                wanted = SecretWanted(host=host, kind="answer", of=of, prompt=prompt, echo=echo, again=again)
                answer = None if self._asker is None else await self._asker.secret(wanted)
                if answer is None:
                    return None
                said.append(answer)
            return said

    def ask_again(self) -> None:
        """What was declined may be asked again: the operator tries anew."""
        self._declined.clear()

    def forget(self) -> None:
        """No answer is kept."""
        self.keys.clear()
        self.passwords.clear()
        self._declined.clear()
