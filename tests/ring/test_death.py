"""A rank that loses a neighbour, its agent or its patience ends, and says of whom."""

import os
import signal
import socket
import subprocess
import time

import pytest

from ringcore.spec.control import Join, Quit
from tests.ring.alone import alone, prompt
from tests.ring.harness import Rank, Ring, free_ports, make_plan, until

LAYERS = 4
SOON = 5.0  # seconds
AGENT_GONE = 3  # exit code
RING_FAILED = 6


def answering(ring: Ring) -> Ring:
    """Two long answers under way."""
    for number in range(2):
        ring.submit(f"long{number}", prompt(30, number), 4000)
    ring.wait(lambda: ring.tokens("long0") and ring.tokens("long1"), "tokens")
    return ring


def ends(rank: Rank, seconds: float = SOON) -> int:
    """Its exit code, when it ends in time."""
    try:
        return rank.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise AssertionError(f"rank still runs after {seconds} s: {rank.said}") from None


@pytest.mark.parametrize(
    ("order", "victim"),
    [
        ("reverse", 0),
        ("reverse", 2),
        ("forward", 3),
        *(
            pytest.param(order, victim, marks=pytest.mark.slow)
            for order in ("reverse", "forward")
            for victim in range(4)
        ),
    ],
)
def test_when_a_rank_is_killed_the_others_end_and_its_neighbours_name_it(order: str, victim: int) -> None:
    with Ring(make_plan([1] * LAYERS, order=order)) as ring:
        answering(ring)
        ring.ranks[victim].process.kill()
        others = [rank for number, rank in enumerate(ring.ranks) if number != victim]
        assert [ends(rank) for rank in others] == [RING_FAILED] * 3
        until(lambda: all(rank.fatal for rank in others), "last words of all others")
        named = [
            number
            for number, rank in enumerate(ring.ranks)
            if rank.fatal and f"rank {victim} on host{victim} (127.0.0.1:" in rank.fatal.failure.cause
        ]
        assert named, "a neighbour must name the one that was killed"
        assert set(named) <= {(victim - 1) % 4, (victim + 1) % 4}
        for number, rank in enumerate(ring.ranks):
            if rank.fatal:
                failure = rank.fatal.failure
                assert (failure.rank, failure.host) == (number, f"host{number}")
                assert "the link " in failure.cause
                assert (failure.blames == victim) == (number in named)
                assert failure.remedy


@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_shares_the_head_ends_when_the_other_is_killed_and_names_it(
    order: str, victim: int
) -> None:
    with Ring(make_plan([2, 2], order=order, head_rows=50)) as ring:
        answering(ring)
        ring.ranks[victim].process.kill()
        other = ring.ranks[1 - victim]
        assert ends(other) == RING_FAILED
        until(lambda: other.fatal, "last words")
        assert other.fatal.failure.blames == victim
        assert f"rank {victim} on host{victim} (127.0.0.1:" in other.fatal.failure.cause


@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize("still", [0, 1])
def test_quit_ends_a_rank_that_shares_the_head_with_one_that_stands_still(order: str, still: int) -> None:
    with Ring(make_plan([2, 2], order=order, head_rows=50)) as ring:
        answering(ring)
        os.kill(ring.ranks[still].process.pid, signal.SIGSTOP)
        other = ring.ranks[1 - still]
        other.tell(Quit())
        assert ends(other) == 0 and other.fatal is None


def test_a_rank_that_stands_still_is_noticed_by_nobody_and_quit_ends_the_others() -> None:
    with Ring(make_plan([1, 1, 2])) as ring:
        answering(ring)
        still = ring.ranks[1]
        os.kill(still.process.pid, signal.SIGSTOP)
        others = [ring.ranks[0], ring.ranks[2]]
        for rank in others:
            rank.tell(Quit())
        assert [ends(rank) for rank in others] == [0, 0]
        os.kill(still.process.pid, signal.SIGCONT)
        # Either the stop step was waiting for it, or it finds its neighbours gone.
        assert ends(still) in (0, RING_FAILED)


@pytest.mark.parametrize("order", ["reverse", "forward"])
def test_the_end_of_its_agent_ends_a_rank_that_waits_for_one_that_stands_still(order: str) -> None:
    with Ring(make_plan([1, 1, 2], order=order)) as ring:
        answering(ring)
        os.kill(ring.ranks[1].process.pid, signal.SIGSTOP)
        for rank in (ring.ranks[0], ring.ranks[2]):
            began = time.monotonic()
            rank.lose_agent()
            # The first to end takes its neighbour's link with it.
            assert ends(rank) in (AGENT_GONE, RING_FAILED)
            assert time.monotonic() - began < 2


def test_the_end_of_its_agent_ends_a_rank_at_rest() -> None:
    with Ring(make_plan([1, 1, 2])) as ring:
        ring.wait(lambda: all(rank.steps for rank in ring.ranks), "rest, which a ring begins with")
        for rank in ring.ranks:
            rank.lose_agent()
        assert [ends(rank) for rank in ring.ranks] == [AGENT_GONE] * 3


def test_the_end_of_its_agent_ends_a_rank_that_waits_for_join_or_for_its_neighbours() -> None:
    with Ring(make_plan([1, 1, 2]), join=False) as ring:
        ring.loaded()
        joining, loaded = ring.ranks[:2]
        joining.tell(Join())
        until(lambda: joining.phase == "joining", "joining")
        for rank in (joining, loaded):
            rank.lose_agent()
            assert ends(rank) == AGENT_GONE


def test_quit_ends_a_rank_before_it_has_loaded_when_it_has_and_while_it_joins() -> None:
    with Ring(make_plan([1, 1, 2]), join=False) as ring:
        ring.ranks[2].tell(Quit())
        assert ends(ring.ranks[2], 20) == 0
        until(lambda: all(rank.phase == "loaded" for rank in ring.ranks[:2]), "loaded")
        ring.ranks[0].tell(Join())
        until(lambda: ring.ranks[0].phase == "joining", "joining")
        for rank in ring.ranks[:2]:
            rank.tell(Quit())
        assert [ends(rank) for rank in ring.ranks[:2]] == [0, 0]
        assert not any(rank.fatal for rank in ring.ranks)


@pytest.mark.parametrize("order", ["reverse", "forward"])
@pytest.mark.parametrize(("counts", "head_rows"), [([1, 1, 2], 0), ([2, 2], 50)])
def test_quit_ends_a_ring_that_answers_in_order_and_one_at_rest(
    order: str, counts: list[int], head_rows: int
) -> None:
    for busy in (True, False):
        with Ring(make_plan(counts, order=order, head_rows=head_rows)) as ring:
            if busy:
                answering(ring)
            else:
                ring.answer("a", prompt(4), 3)
                ring.wait(lambda ring=ring: all(r.memory[-1].kv_bytes == 0 for r in ring.ranks), "rest")
            assert ring.quit() == [0] * len(counts)
            assert not any(rank.fatal for rank in ring.ranks)


def test_quit_ends_a_ring_of_one_that_answers() -> None:
    with Ring(make_plan([LAYERS])) as ring:
        answering(ring)
        assert ring.quit() == [0]


def test_a_port_that_is_taken_is_the_last_word_of_its_rank() -> None:
    ports = free_ports(2)
    with (
        socket.create_server(("127.0.0.1", ports[1])),
        Ring(make_plan([2, 2]), join=False, ports=ports) as ring,
    ):
        ring.loaded()
        ring.ranks[1].tell(Join())
        assert ends(ring.ranks[1]) == RING_FAILED
        until(lambda: ring.ranks[1].fatal, "last words")
        failure = ring.ranks[1].fatal.failure
        assert f"cannot listen on 127.0.0.1:{ports[1]}" in failure.cause
        assert (failure.rank, failure.host, failure.exit_code) == (1, "host1", RING_FAILED)


def test_a_rank_that_dies_while_the_ring_joins_takes_the_others_with_it() -> None:
    with Ring(make_plan([1, 1, 2]), join=False) as ring:
        ring.loaded()
        for rank in ring.ranks[:2]:
            rank.tell(Join())
        until(lambda: all(rank.phase == "joining" for rank in ring.ranks[:2]), "joining")
        ring.ranks[1].process.kill()
        ring.ranks[2].tell(Join())
        for rank in (ring.ranks[0], ring.ranks[2]):
            rank.tell(Quit())
            assert ends(rank) == 0


def test_the_next_epoch_answers_on_the_ports_of_one_that_was_killed() -> None:
    ports = free_ports(3)
    for epoch in (1, 2):
        with Ring(make_plan([1, 1, 2]), ports=ports, epoch=epoch) as ring:
            assert ring.answer("a", prompt(9, epoch), 5) == alone(LAYERS, prompt(9, epoch), 5)
            answering(ring)
            for rank in ring.ranks:
                rank.process.kill()


def test_a_run_directory_of_another_rank_is_refused() -> None:
    with Ring(make_plan([2, 2]), join=False) as ring:
        ring.loaded()
        command = [*ring.ranks[0].process.args]
        ours, theirs = socket.socketpair()
        command[command.index("--rank") + 1] = "1"
        command[-1] = str(theirs.fileno())
        with ours, theirs:
            done = subprocess.run(
                command, cwd=ring.run(0), pass_fds=[theirs.fileno()], env=ring.environment, timeout=30
            )
            theirs.close()
            said = ours.makefile("rb").read().decode()
        assert done.returncode == RING_FAILED
        assert "is for rank 0 of 2, this is rank 1" in said
