"""Conversations that the gateway holds: their bounds, their files, and one turn at a time."""

import asyncio
import stat
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from ringcore.gateway import conversations
from ringcore.gateway.conversations import Conversations
from ringcore.gateway.errors import ApiFault
from ringcore.gateway.messages import CalledFunction, Message, ToolCall
from ringcore.gateway.shelf import Shelf
from ringcore.spec.deployment import CONVERSATIONS
from ringcore.spec.events import Level
from tests.gateway.harness import FakeRank, GatewayProcess, chat


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


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        ({"content": "so"}, {"content": "so", "reasoning_content": "hm"}),
        ({"content": "so"}, {"content": [{"type": "text", "text": "so"}]}),
        ({"content": "", "tool_calls": '{"a": 1}'}, {"content": None, "tool_calls": '{"a":1}', "index": 0}),
    ],
    ids=["with its thinking", "in parts", "a call"],
)
def test_a_client_that_sends_everything_again_is_understood_however_it_writes_an_answer(
    held: dict[str, Any], sent: dict[str, Any]
) -> None:
    def answer(fields: dict[str, Any]) -> Message:
        fields = {"role": "assistant", **fields}
        index = fields.pop("index", None)
        if calls := fields.get("tool_calls"):
            fields["tool_calls"] = [ToolCall(CalledFunction("f", calls), "c1", index=index)]
        return msgspec.convert(msgspec.to_builtins(fields), Message)

    conversation, hi = Conversations(), Message(role="user", content="hi")
    conversation.begin("a", [hi])
    conversation.end("a", (hi, answer(held)), 5)
    conversation.leave("a")
    more = Message(role="user", content="more")
    assert conversation.begin("a", [hi, answer(sent), more]) == (hi, answer(held), more)


class Said:
    """What a shelf tells."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def __call__(self, _level: Level, text: str) -> None:
        self.texts.append(text)


async def test_what_was_said_is_there_after_a_restart_and_what_was_forgotten_is_not(tmp_path: Path) -> None:
    folder, said = tmp_path / "conversations", Said()
    shelf = Shelf(folder, said)
    held = Conversations(shelf)
    for name in ("a", "b", "c"):
        turn(held, name, f"hi {name}")
    turn(held, "a", "again")
    held.forget("b")
    await shelf.close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 2
    again = Conversations(Shelf(folder, said))
    assert {name: [m.text for m in one.messages] for name, one in again.all().items()} == {
        "a": ["hi a", "so", "again", "so"], "c": ["hi c", "so"],
    }  # fmt: skip
    assert list(again.all()) == ["a", "c"]
    assert not said.texts


async def test_those_that_nobody_used_for_long_go_with_their_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    shelf = Shelf(tmp_path / "c", Said())
    held = Conversations(shelf)
    turn(held, "old", "hi")
    monkeypatch.setattr(time, "time", lambda: now + conversations.KEPT_SECONDS / 2)
    turn(held, "new", "hi")
    monkeypatch.setattr(time, "time", lambda: now + conversations.KEPT_SECONDS + 60)
    assert list(held.all()) == ["new"]
    await shelf.close()
    assert len(list((tmp_path / "c").iterdir())) == 1
    monkeypatch.setattr(time, "time", lambda: now + 2 * conversations.KEPT_SECONDS)
    shelf = Shelf(tmp_path / "c", Said())
    assert not Conversations(shelf).all()
    await shelf.close()
    assert not list((tmp_path / "c").iterdir())


async def test_a_broken_file_is_passed_over_and_half_a_one_removed(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    (tmp_path / ".y.json.123").write_text("half")
    said = Said()
    assert not Conversations(Shelf(tmp_path, said)).all()
    assert "x.json" in said.texts[0]
    assert not (tmp_path / ".y.json.123").exists()


async def test_a_folder_that_cannot_be_written_is_told_once_and_conversations_go_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = Said()
    shelf = Shelf(tmp_path / "file", said)
    held = Conversations(shelf)
    turn(held, "a", "hi")
    turn(held, "b", "hi")
    await shelf.close()
    assert list(held.all()) == ["b", "a"]
    assert len(said.texts) == 1 and "conversations are not kept in" in said.texts[0]


async def test_a_gateway_that_starts_again_goes_on_with_its_conversations(
    model: Path, tmp_path: Path
) -> None:
    async def say(gateway: GatewayProcess, text: str, answer: str) -> str:
        rank = await FakeRank(gateway.ready()).connect()
        async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as client:
            body = chat(text, conversation_id="a")
            asking = asyncio.create_task(client.post("/v1/chat/completions", json=body))
            submit = await rank.submit()
            prompt = rank.prompt(submit)
            rank.answer(submit, answer)
            assert (await asking).status_code == 200
        await rank.close()
        return prompt

    with GatewayProcess(model) as gateway:
        await say(gateway, "my fox", "the answer")
        gateway.quit()
        await asyncio.to_thread(gateway.process.wait, 10)
        (gateway.folder / CONVERSATIONS).rename(tmp_path / CONVERSATIONS)
    with GatewayProcess(model, folder=tmp_path) as gateway:
        prompt = await say(gateway, "and now", "more")
    assert "my fox" in prompt and "the answer" in prompt and "and now" in prompt
