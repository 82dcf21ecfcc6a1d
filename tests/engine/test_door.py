"""The leader's side of engine.sock, against a real socket: it never blocks, and a loss is told once."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ringcore.engine import door as module
from ringcore.engine.door import Door
from ringcore.spec.engine import Cancel, Ready, Submit, Token, encoder, engine_to_gateway

HELLO = Ready(epoch=1, context=10, sequences=2, vocab_size=100)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.0)


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(tmp_path / "engine.sock"))
        found.listen(1)
        found.settimeout(5)
        yield found


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    found = Door(str(tmp_path / "engine.sock"), HELLO)
    yield found
    found.close()


def accept(listener: socket.socket) -> socket.socket:
    connection, _ = listener.accept()
    connection.settimeout(5)
    return connection


def read(gateway: socket.socket, lines: int) -> list[object]:
    data = b""
    while data.count(b"\n") < lines:
        more = gateway.recv(65536)
        assert more
        data += more
    return [engine_to_gateway.decode(line) for line in data.splitlines()]


def test_without_a_gateway_it_tries_again_quietly(door: Door) -> None:
    for _ in range(3):
        door.connect()
        door.send([Token(id="a", index=0, token=1)])
        assert not door.connected
        assert door.receive() is None
        assert door.readable == door.writable == []


def test_hello_is_the_first_word_of_every_connection(door: Door, listener: socket.socket) -> None:
    for _ in range(2):
        door.connect()
        with accept(listener) as gateway:
            door.send([Token(id="a", index=0, token=1)])
            assert read(gateway, 2) == [HELLO, Token(id="a", index=0, token=1)]
        assert door.receive() is None


def test_messages_arrive_in_order_and_in_any_pieces(door: Door, listener: socket.socket) -> None:
    door.connect()
    wanted = [Submit(id="a", prompt=[1, 2], max_tokens=3, stop_tokens=[]), Cancel(id="a")]
    data = b"".join(encoder.encode(message) + b"\n" for message in wanted)
    found = []
    with accept(listener) as gateway:
        assert door.receive() == []
        for at in range(0, len(data), 7):
            gateway.sendall(data[at : at + 7])
            found += door.receive() or []
    assert found == wanted


def test_an_unknown_message_is_kept_for_the_log_and_the_next_is_read(
    door: Door, listener: socket.socket
) -> None:
    door.connect()
    with accept(listener) as gateway:
        gateway.sendall(b'{"type": "dance"}\n' + encoder.encode(Cancel(id="a")) + b"\n")
        assert door.receive() == [Cancel(id="a")]
        assert "dance" in door.problem
        assert door.connected


def test_a_gateway_that_reads_slowly_gets_everything_in_the_end(door: Door, listener: socket.socket) -> None:
    door.connect()
    wanted = [Token(id="x" * 100, index=index, token=7) for index in range(20_000)]
    with accept(listener) as gateway:
        door.send(wanted)
        assert door.writable
        data = b""
        while data.count(b"\n") < len(wanted) + 1:
            data += gateway.recv(1 << 20)
            door.flush()
        assert [engine_to_gateway.decode(line) for line in data.splitlines()] == [HELLO, *wanted]
        assert not door.writable


def test_a_gateway_that_reads_nothing_is_given_up(
    door: Door, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_UNSENT", 1 << 20)
    door.connect()
    with accept(listener):
        for _ in range(100):
            door.send([Token(id="x" * 1000, index=index, token=7) for index in range(100)])
        assert not door.connected
        assert door.receive() is None


def test_a_gateway_that_never_ends_a_line_is_given_up(
    door: Door, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LINE", 1 << 16)
    door.connect()
    with accept(listener) as gateway:
        gateway.settimeout(0.05)
        answers: list[object] = []
        while door.connected:
            try:
                gateway.send(b"x" * 8192)
            except OSError:
                break
            answers.append(door.receive())
    assert answers[-1] is None
    assert len(answers) < 20


def test_no_new_connection_is_made_before_the_loss_of_the_old_was_told(
    door: Door, listener: socket.socket
) -> None:
    door.connect()
    accept(listener).close()
    while door.connected:  # found while sending, not while reading
        door.send([Token(id="a", index=0, token=1)])
    door.connect()
    assert not door.connected
    assert door.receive() is None
    door.connect()
    assert door.connected
    with accept(listener) as gateway:
        assert read(gateway, 1) == [HELLO]
        assert door.receive() == []


def test_a_gateway_that_accepts_nobody_holds_nothing_up(tmp_path: Path, listener: socket.socket) -> None:
    doors = [Door(str(tmp_path / "engine.sock"), HELLO) for _ in range(8)]
    for each in doors:
        each.connect()  # would block for ever once the backlog is full
    assert not all(each.connected for each in doors)
    for each in doors:
        each.close()
