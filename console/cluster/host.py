"""One connection to one host: what provisioning and deployment need of it, whoever provides it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from msgspec import Struct

from ringcore.spec.profile import HostOptions


class Completed(Struct, frozen=True):
    """A command that ended. Texts are decoded with replacement; ``status`` is -1 when a signal ended it."""

    status: int
    stdout: str
    stderr: str


class Attached(Protocol):
    """A running remote command whose standard streams are ours, for lines or bytes both ways."""

    def lines(self) -> AsyncIterator[bytes]:
        """Lines of its standard output, without the newline, until it ends."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Its standard output as it comes, until it ends."""
        ...

    async def send(self, data: bytes) -> None: ...

    async def close(self) -> None: ...


class Host(Protocol):
    """Commands are argument lists: quoting for the remote shell happens in one place, inside.

    Every method raises `HostError` when the connection fails, with cause and remedy.
    """

    options: HostOptions

    @property
    def lost(self) -> bool:
        """Whether the connection has ended: nothing can be done over it any more."""
        ...

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 30.0,
        env: dict[str, str] | None = None,
    ) -> Completed: ...

    def stream(
        self, argv: Sequence[str], *, timeout: float, env: dict[str, str] | None = None
    ) -> AbstractAsyncContextManager[Attached]:
        """A command whose output is read as it comes (``timeout`` 0: none)."""
        ...

    async def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Atomic: temporary name beside ``path``, fsync, rename. Makes the parent folders (0700)."""
        ...

    async def forward(self, port: int) -> int:
        """A local loopback port that leads to ``127.0.0.1:port`` there; the same one when asked again."""
        ...

    async def close(self) -> None: ...
