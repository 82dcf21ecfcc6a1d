"""The machine room, made once, and its operator. Fails, and does not skip, where it cannot be made."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hosts.needs import missing
from tests.hosts.room import Room, RoomOperator


@pytest.fixture(scope="session")
def whole_room(tmp_path_factory: pytest.TempPathFactory, demo_model_path: Path) -> Iterator[Room]:
    lacking = missing()
    if lacking:
        pytest.fail(lacking, pytrace=False)
    room = Room(tmp_path_factory.mktemp("room"), demo_model_path)
    yield room
    room.close()


@pytest.fixture
def room(whole_room: Room) -> Iterator[Room]:
    """The machine room with nothing deployed; put in order again afterwards."""
    yield whole_room
    whole_room.clear()


@pytest.fixture
def operator_with(room: Room) -> Callable[..., RoomOperator]:
    def make(**changes: Any) -> RoomOperator:
        return RoomOperator(room.folder, room.model, 3, room=room, **changes)

    return make


@pytest.fixture
def operator(operator_with: Callable[..., RoomOperator]) -> RoomOperator:
    return operator_with()


@pytest.fixture
def serving(operator: RoomOperator) -> RoomOperator:
    up = operator.run("up")
    assert up.code == 0, up.err
    return operator
