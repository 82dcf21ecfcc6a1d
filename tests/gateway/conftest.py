"""One gateway for the tests of a module; a new rank 0, which is a new epoch, for each test."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.gateway.harness import FakeRank, GatewayProcess
from tests.gateway.small_tokenizer import write_tokenizer


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def gateway(model: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(model) as process:
        yield process.ready()


@pytest.fixture
async def rank(gateway: GatewayProcess) -> AsyncIterator[FakeRank]:
    rank = await FakeRank(gateway).connect()
    yield rank
    await rank.close()


@pytest.fixture
async def client(gateway: GatewayProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=15) as client:
        yield client
