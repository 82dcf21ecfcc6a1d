"""Agents of a ring over the demo model; nothing they start outlives the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.harness import Agents, Make


@pytest.fixture
def make_agents(tmp_path: Path, demo_model_path: Path) -> Iterator[Make]:
    made: list[Agents] = []

    def make(counts: list[int] | None = None, **plan: object) -> Agents:
        made.append(Agents(tmp_path, demo_model_path, counts or [15, 15], **plan))
        return made[-1]

    yield make
    for each in made:
        each.clear()
