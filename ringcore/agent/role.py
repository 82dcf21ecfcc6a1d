"""What the two kinds of agents, leader and member, share: what they are given and what is asked of them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from ringcore.agent.child import Child
from ringcore.agent.journal import Journal
from ringcore.spec.deployment import Deployment
from ringcore.spec.errors import Failure


class Host(NamedTuple):
    """This host's part of the run. ``children`` is told which processes there are now."""

    folder: Path
    deployment: Deployment
    secret: bytes
    journal: Journal
    children: Callable[[Sequence[Child]], None]


class Role(Protocol):
    async def open(self) -> None:
        """Take what must be had before the agent says that it runs. Raises `RingError`."""
        ...

    async def run(self) -> Failure | None:
        """From the start to the end of the ring on this host; everything it started has ended then. Why it
        ended, None when that was wanted."""
        ...

    def stop(self) -> None:
        """The operator wants the end."""
        ...

    def forget(self) -> None:
        """The operator wants nothing more to be kept of earlier sequences: the leader's rank sees to it."""
        ...
