"""Conversations that the gateway holds: their bounds, and one turn at a time."""

import pytest

from ringcore.gateway import conversations
from ringcore.gateway.conversations import Conversations
from ringcore.gateway.errors import ApiFault
from ringcore.gateway.messages import Message


def turn(held: Conversations, name: str, text: str) -> None:
    messages = held.begin(name, [Message(role="user", content=text)])
    held.end(name, (*messages, Message(role="assistant", content="so")), 5)
    held.leave(name)


def test_those_used_least_recently_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MAX_CONVERSATIONS", 2)
    held = Conversations()
    for name in ("a", "b", "a", "c"):
        turn(held, name, "hi")
    assert list(held.all()) == ["c", "a"]


def test_many_bytes_make_room_and_one_with_a_turn_on_its_way_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MAX_BYTES", 1700)
    held = Conversations()
    for name in ("a", "b"):
        turn(held, name, "x" * 300)
    held.begin("a", [Message(role="user", content="y")])
    turn(held, "c", "z" * 600)
    assert set(held.all()) == {"a", "c"}


def test_one_that_is_forgotten_in_the_middle_of_a_turn_stays_forgotten() -> None:
    held = Conversations()
    messages = held.begin("a", [Message(role="user", content="hi")])
    held.end("a", messages, 1)
    assert held.forget("a")
    held.end("a", messages, 2)
    held.leave("a")
    assert not held.all()
    assert not held.forget("a")


def test_a_second_turn_at_once_is_refused_and_the_first_goes_on() -> None:
    held = Conversations()
    held.begin("a", [Message(role="user", content="hi")])
    with pytest.raises(ApiFault, match="on its way"):
        held.begin("a", [])
    held.leave("a")
    turn(held, "a", "again")
    assert len(held.all()["a"].messages) == 2


def test_what_was_forgotten_in_the_middle_of_a_turn_is_not_in_the_next_conversation_of_that_name() -> None:
    held = Conversations()
    turn(held, "a", "secret")
    first = held.begin("a", [Message(role="user", content="more")])
    assert held.forget("a") and not held.forget("a")
    assert not held.all()
    with pytest.raises(ApiFault, match="on its way"):
        held.begin("a", [Message(role="user", content="new")])
    held.end("a", first, 9)
    held.leave("a")
    assert len(held.begin("a", [Message(role="user", content="new")])) == 1
