"""Opens the connection of each host of a profile: SSH, or whoever provides the ``local`` ones."""

import asyncio
from typing import Protocol

from console.audit import Audit
from console.cluster.answers import Answers
from console.cluster.host import Host
from console.cluster.ssh import connect
from console.cluster.target import Target
from ringcore.spec.errors import HostError
from ringcore.spec.profile import LOCAL, HostOptions

_AT_ONCE = 8  # a jump host's sshd turns some away when ten have not logged in yet (MaxStartups)


class LocalHosts(Protocol):
    """SSH servers for the hosts that are this machine."""

    async def target(self, options: HostOptions) -> Target: ...

    async def close(self) -> None: ...


class SshConnector:
    """One connection for each call of `connect`. Closing it ends the local hosts' servers."""

    def __init__(
        self,
        local: LocalHosts | None = None,
        answers: Answers | None = None,
        audit: Audit | None = None,
    ) -> None:
        self._audit = audit
        self._local = local
        self._answers = answers or Answers()
        self._logins = asyncio.Semaphore(_AT_ONCE)
        self._under_way = 0

    async def connect(self, options: HostOptions) -> Host:
        """Raises `HostError` with the cause and the remedy. No phase of a login takes over 10 s, but for what
        the operator is asked meanwhile."""
        if not self._under_way:
            self._answers.ask_again()
        self._under_way += 1
        try:
            async with self._logins:
                return await self._connect(options)
        finally:
            self._under_way -= 1

    async def _connect(self, options: HostOptions) -> Host:
        if options.ssh != LOCAL:
            return await connect(options, answers=self._answers, audit=self._audit)
        if self._local is None:
            raise HostError(
                "local hosts are not served here", "name the host as [user@]host[:port]", host=options.name
            )
        return await connect(options, await self._local.target(options), audit=self._audit)

    async def close(self) -> None:
        self._answers.forget()
        if self._local is not None:
            await self._local.close()
