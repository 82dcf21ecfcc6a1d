"""Neighbours meet before MLX opens its links, all at once or not at all, and each error names the peer."""

import socket
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from msgspec import structs

from ringcore.rank.meeting import Gathering, meet
from ringcore.spec.deployment import Member
from ringcore.spec.errors import RingError
from tests.ring.harness import free_ports, until

NOW = Gathering(run_id="run", epoch=2, plan="0123456789abcdef")


def ring(count: int) -> list[Member]:
    return [
        Member(rank=rank, host=f"host{rank}", address="127.0.0.1", link_port=port)
        for rank, port in enumerate(free_ports(count))
    ]


def gather(
    members: Sequence[Member],
    *,
    towards: int = -1,
    who: Sequence[int] = (),
    gatherings: dict[int, Gathering] | None = None,
    seconds: float = 10.0,
    then: Callable[[], object] = lambda: None,
) -> list[Future[object]]:
    """Each of ``who`` (all) meets in a thread of its own, and does ``then`` when it has."""

    def one(rank: int) -> object:
        source, target = (members[(rank - sign * towards) % len(members)] for sign in (1, -1))
        meet(members[rank], source, target, (gatherings or {}).get(rank, NOW), seconds)
        return then()

    ranks = list(who) or [member.rank for member in members]
    pool = ThreadPoolExecutor(len(ranks))
    futures = [pool.submit(one, rank) for rank in ranks]
    pool.shutdown(wait=False)
    return futures


def connect(member: Member) -> socket.socket:
    """A connection to its port as soon as it listens."""
    found: list[socket.socket] = []

    def come() -> bool:
        try:
            found.append(socket.create_connection((member.address, member.link_port), timeout=2))
        except OSError:
            return False
        return True

    until(come, f"rank {member.rank} listening")
    return found[0]


def listens(member: Member) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((member.address, member.link_port)) == 0


@pytest.mark.parametrize("towards", [-1, 1])
@pytest.mark.parametrize("count", [2, 3, 4, 8])
def test_when_one_goes_on_nobody_listens_any_more(count: int, towards: int) -> None:
    members = ring(count)
    done = gather(members, towards=towards, then=lambda: [m.rank for m in members if listens(m)])
    assert [future.result(20) for future in done] == [[]] * count


def test_nobody_goes_on_before_the_last_has_come() -> None:
    members = ring(4)
    early = gather(members, who=[0, 1, 3])
    until(lambda: all(listens(members[rank]) for rank in (1, 3)), "those that are there")
    assert not any(future.done() for future in early)
    late = gather(members, who=[2])
    for future in (*early, *late):
        future.result(20)


def test_the_same_ports_serve_one_epoch_after_the_other() -> None:
    members = ring(3)
    for epoch in range(10):
        gathering = structs.replace(NOW, epoch=epoch)
        for future in gather(members, gatherings=dict.fromkeys(range(3), gathering)):
            future.result(20)
        for member in members:  # as MLX does next
            with socket.create_server((member.address, member.link_port)):
                pass


@pytest.mark.parametrize(("rank", "missing"), [(1, 0), (1, 2)])
def test_a_neighbour_that_never_comes_is_named_with_its_address(rank: int, missing: int) -> None:
    members = ring(3)
    began = time.monotonic()
    present = [other for other in range(3) if other != missing]
    futures = dict(zip(present, gather(members, who=present, seconds=1.0), strict=True))
    with pytest.raises(RingError) as caught:
        futures[rank].result(20)
    assert time.monotonic() - began < 5
    absent = members[missing]
    where = f"rank {missing} on host{missing} (127.0.0.1:{absent.link_port}) did not come within 1 s"
    assert where in str(caught.value)
    assert caught.value.failure.remedy
    for future in futures.values():
        assert isinstance(future.exception(20), RingError)


def test_ranks_whose_neighbours_are_there_say_that_another_is_missing() -> None:
    members = ring(5)
    futures = gather(members, who=[0, 1, 2, 3], seconds=1.0)
    causes = [str(future.exception(20)) for future in futures]
    assert "rank 4 on host4" in causes[0]
    assert "rank 4 on host4" in causes[3]
    assert all("another rank is missing" in cause or "left" in cause for cause in causes[1:3])


def test_a_port_that_is_taken_is_named() -> None:
    members = ring(2)
    with socket.create_server(("127.0.0.1", members[0].link_port)):
        (future,) = gather(members, who=[0], seconds=1.0)
        error = future.exception(20)
    assert f"cannot listen on 127.0.0.1:{members[0].link_port}" in str(error)
    assert "free the port" in str(error)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (structs.replace(NOW, plan="fedcba9876543210"), "plan fedcba9876543210"),
        (structs.replace(NOW, epoch=3), "epoch 3"),
        (structs.replace(NOW, run_id="another"), "of another run"),
    ],
    ids=["plan", "epoch", "run"],
)
def test_a_neighbour_of_another_plan_epoch_or_run_is_told_apart(other: Gathering, said: str) -> None:
    members = ring(2)
    first, second = gather(members, gatherings={1: other}, seconds=2.0)
    causes = [str(first.exception(20)), str(second.exception(20))]
    assert any(said in cause for cause in causes), causes
    assert any(f"plan {NOW.plan}" in cause and "epoch 2" in cause for cause in causes)


def test_a_rank_in_the_wrong_place_is_told_apart() -> None:
    members = ring(3)
    (future,) = gather(members, who=[0])
    with connect(members[0]) as stranger:
        stranger.sendall(NOW.hello(2))  # towards rank 0 it is rank 1 that sends
        assert "rank 2 of this run" in str(future.exception(20))


def test_whoever_comes_from_an_epoch_that_ends_is_sent_away_and_its_successor_let_in() -> None:
    members = ring(2)
    (first,) = gather(members, who=[0])
    with connect(members[0]) as old:
        old.sendall(structs.replace(NOW, epoch=1).hello(1))
        old.settimeout(5)
        with pytest.raises(ConnectionResetError):
            old.recv(1)
    (second,) = gather(members, who=[1])
    first.result(20)
    second.result(20)


def test_an_old_neighbour_that_stays_is_named_when_the_time_is_over() -> None:
    members = ring(2)
    with socket.create_server(("127.0.0.1", members[1].link_port)) as target:
        target.settimeout(10)
        (future,) = gather(members, who=[0], seconds=2.0)
        with connect(members[0]) as old:
            old.sendall(structs.replace(NOW, epoch=1).hello(1))
            held, _ = target.accept()
        error = str(future.exception(20))
        held.close()
    assert "rank 1 on host1" in error
    assert "rank 1 of this run, epoch 1" in error


def test_a_neighbour_that_came_and_died_may_come_again() -> None:
    members = ring(2)
    (first,) = gather(members, who=[0])
    with connect(members[0]) as doomed:
        doomed.sendall(NOW.hello(1))
    (second,) = gather(members, who=[1])
    first.result(20)
    second.result(20)


def test_a_neighbour_that_was_reached_and_died_is_reached_again() -> None:
    members = ring(2)
    with socket.create_server(("127.0.0.1", members[1].link_port)) as target:
        (first,) = gather(members, who=[0])
        target.accept()[0].close()
    (second,) = gather(members, who=[1])
    first.result(20)
    second.result(20)


def test_a_neighbour_that_leaves_when_all_were_there_is_named() -> None:
    members = ring(2)
    with socket.create_server(("127.0.0.1", members[1].link_port)) as target:
        (first,) = gather(members, who=[0])
        with connect(members[0]) as doomed:
            doomed.sendall(NOW.hello(1))
            reached, _ = target.accept()
            with reached:
                reached.recv(len(NOW.hello(0)), socket.MSG_WAITALL)
                assert reached.recv(1) == b"1"
        error = first.exception(20)
        assert isinstance(error, RingError)
        assert "rank 1 on host1 left while the ring was joining" in str(error)
        assert error.failure.blames == 1


def test_strangers_are_sent_away_and_hold_nobody_up() -> None:
    members = ring(2)
    (first,) = gather(members, who=[0])
    for words in (b"GET / HTTP/1.1\r\n\r\n" + b" " * 80, b"", b"MLXR"):
        with connect(members[0]) as stranger:
            stranger.sendall(words)
    (second,) = gather(members, who=[1])
    first.result(20)
    second.result(20)


def test_a_hello_that_comes_in_pieces_is_put_together() -> None:
    members = ring(2)
    with socket.create_server(("127.0.0.1", members[1].link_port)) as target:
        (future,) = gather(members, who=[0])
        reached, _ = target.accept()
        with connect(members[0]) as piecemeal, reached:
            hello = NOW.hello(1)
            piecemeal.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for at in range(len(hello)):
                piecemeal.sendall(hello[at : at + 1])
            assert reached.recv(len(hello), socket.MSG_WAITALL) == NOW.hello(0)
            for token in (b"1", b"2"):
                assert reached.recv(1) == token
                piecemeal.sendall(token)
            future.result(20)


def test_waiting_for_a_neighbour_costs_no_processor() -> None:
    members = ring(2)
    with socket.create_server(("127.0.0.1", members[0].link_port)):
        pass
    used = time.process_time()
    (future,) = gather(members, who=[0], seconds=1.0)
    with connect(members[0]) as source:
        source.sendall(NOW.hello(1))
        assert isinstance(future.exception(20), RingError)
    assert time.process_time() - used < 0.3
    assert threading.active_count() < 50
