"""One connected host, for tests that need no more than that; a disk that is soon full."""

import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from console.cluster.ssh import SshHost
from tests.cluster.reach import reached


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[SshHost]:
    async with reached(tmp_path / "home") as connected:
        yield connected


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a disk of its own of some size. Needs root."""
    place = tmp_path / "disk"
    place.mkdir()

    def make(size: str) -> Path:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "disk", str(place)]
        subprocess.run(mount, check=True, capture_output=True)
        return place

    yield make
    subprocess.run(["umount", "-l", str(place)], check=False)
