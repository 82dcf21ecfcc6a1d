"""One connected host, for tests that need no more than that."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from console.cluster.ssh import SshHost
from tests.cluster.reach import reached


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[SshHost]:
    async with reached(tmp_path / "home") as connected:
        yield connected
