"""A rank sleeps until something is there to be received."""

import select
import socket
import threading
import time

from ringcore.rank.doorbell import Doorbell


def _waits(doorbell: Doorbell) -> threading.Thread:
    thread = threading.Thread(target=doorbell.wait, daemon=True)
    thread.start()
    return thread


def test_it_wakes_for_data_and_leaves_the_data_there() -> None:
    doorbell = Doorbell()
    with doorbell.listening():
        ours, peer = socket.socketpair()
    with ours, peer:
        waiting = _waits(doorbell)
        peer.sendall(b"x")
        waiting.join(10)
        assert not waiting.is_alive()
        assert ours.recv(2) == b"x"


def test_it_sleeps_while_there_is_nothing() -> None:
    doorbell = Doorbell()
    with doorbell.listening():
        ours, peer = socket.socketpair()
    with ours, peer:
        used = time.thread_time
        spent: list[float] = []

        def wait() -> None:
            began = used()
            doorbell.wait()
            spent.append(used() - began)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        waiting.join(0.3)
        assert waiting.is_alive()
        peer.sendall(b"x")
        waiting.join(10)
        assert spent[0] < 0.1


def test_it_wakes_when_the_peer_is_gone() -> None:
    doorbell = Doorbell()
    with doorbell.listening():
        ours, peer = socket.socketpair()
    with ours:
        waiting = _waits(doorbell)
        peer.close()
        waiting.join(10)
        assert not waiting.is_alive()


def test_sockets_that_were_there_before_do_not_wake_it() -> None:
    before, sender = socket.socketpair()
    doorbell = Doorbell()
    with doorbell.listening():
        ours, peer = socket.socketpair()
    with before, sender, ours, peer:
        sender.sendall(b"not for the ring")
        waiting = _waits(doorbell)
        select.select([before], [], [], 10)
        waiting.join(0.2)
        assert waiting.is_alive()
        peer.sendall(b"x")
        waiting.join(10)
        assert not waiting.is_alive()


def test_a_socket_that_never_connected_does_not_wake_it() -> None:
    doorbell = Doorbell()
    with doorbell.listening():
        failed = socket.socket()
        ours, peer = socket.socketpair()
    with failed, ours, peer:
        waiting = _waits(doorbell)
        waiting.join(0.2)
        assert waiting.is_alive()
        peer.sendall(b"x")
        waiting.join(10)
        assert not waiting.is_alive()


def test_without_sockets_it_does_not_wait() -> None:
    doorbell = Doorbell()
    with doorbell.listening():
        pass
    doorbell.wait()
