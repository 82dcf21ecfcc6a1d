"""Start with trouble: each fault is named with host, rank, cause and remedy; nothing is left running."""

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.whole.harness import Operator, argument, free_ports, taken, until


def stopped_cleanly(operator: Operator) -> None:
    operator.nothing_is_left()
    assert "Traceback" not in operator.run("status").err


def second_host(operator: Operator, **changes: str) -> None:
    operator.hosts[1] = {k: v for k, v in operator.hosts[1].items() if k != "python"} | changes
    operator.write()


def test_an_unreachable_host(operator: Operator) -> None:
    second_host(operator, ssh=f"nobody@127.0.0.1:{free_ports(1)}")
    up = operator.run("up")
    assert up.code == 3
    assert "h1" in up.err and "refused" in up.err and "remedy" in up.err
    stopped_cleanly(operator)


def test_a_host_that_accepts_and_says_nothing(operator: Operator) -> None:
    port = free_ports(1)
    with taken(port):
        second_host(operator, ssh=f"nobody@127.0.0.1:{port}")
        up = operator.run("up", timeout=15)
    assert up.code == 3
    assert "h1" in up.err and "remedy" in up.err


def test_a_python_that_is_not_there(operator: Operator) -> None:
    second_host(operator, python="/no/such/python")
    up = operator.run("up")
    assert up.code == 4
    assert "h1" in up.err and "/no/such/python" in up.err and "remedy" in up.err
    stopped_cleanly(operator)


def test_a_model_path_that_is_not_there(operator: Operator) -> None:
    second_host(operator, model="/no/such/model", python=sys.executable)
    up = operator.run("up")
    assert up.code == 5
    assert "h1" in up.err and "/no/such/model" in up.err and "remedy" in up.err
    stopped_cleanly(operator)


@pytest.mark.parametrize("which", ["control", "link", "api"])
def test_a_port_that_is_taken(operator: Operator, which: str) -> None:
    port = {"control": operator.ring["port"], "link": operator.ring["port"] + 2, "api": operator.api_port}
    with taken(port[which]):
        up = operator.run("up")
    assert up.code == 6
    assert str(port[which]) in up.err and "remedy" in up.err
    assert ("h1" if which == "link" else "h0") in up.err
    stopped_cleanly(operator)


def test_an_address_that_is_not_the_hosts_own(operator: Operator) -> None:
    operator.hosts[0]["address"] = "192.0.2.6"
    second_host(operator, address="192.0.2.7", python=sys.executable)
    up = operator.run("up")
    assert up.code == 6
    for host, address in (("h0", "192.0.2.6"), ("h1", "192.0.2.7")):
        assert f"{address} is not an address of this host" in up.err and host in up.err
    assert "remedy" in up.err
    stopped_cleanly(operator)


def test_a_rank_that_dies_while_loading(operator: Operator) -> None:
    command = operator.start("up")
    until(lambda: len(operator.processes("rank")) == 2, 60)
    victim = next(p for p in operator.processes("rank") if argument(p, "--rank") == "1")
    victim.send_signal(signal.SIGKILL)
    _, err = command.communicate(timeout=15)
    assert command.returncode == 6
    assert "rank 1" in err and "h1" in err and "signal 9" in err and "remedy" in err
    stopped_cleanly(operator)


@pytest.fixture
def serving(operator: Operator) -> Iterator[Operator]:
    up = operator.run("up")
    assert up.code == 0, up.err
    yield operator


@pytest.mark.slow
def test_a_ring_whose_code_on_its_hosts_is_damaged_can_be_ended(serving: Operator) -> None:
    damaged = [*serving.folder.rglob("code-*/ringcore/__main__.py")]
    assert len(damaged) == 2
    for path in damaged:
        path.chmod(0o600)
        path.write_text("import (")
    down = serving.run("down")
    assert down.code == 0, down.err
    serving.nothing_is_left()


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_killed_while_answering(serving: Operator, rank: int) -> None:
    command = serving.start("chat", "-p", "Count from one to two hundred in words.")
    assert command.stdout is not None
    assert command.stdout.read(8)
    serving.rank(rank).send_signal(signal.SIGKILL)
    _, err = command.communicate(timeout=15)
    assert command.returncode == 6
    assert f"rank {rank}" in err and f"h{rank}" in err and "signal 9" in err and "remedy" in err
    serving.nothing_is_left()
    status = serving.run("status", "--json")
    assert status.code == 6
    failure = json.loads(status.out)["state"]["failure"]
    assert (failure["rank"], failure["host"]) == (rank, f"h{rank}")


def test_a_killed_agent_takes_its_rank_with_it_and_is_named(serving: Operator) -> None:
    serving.agent(1).send_signal(signal.SIGKILL)
    until(lambda: not serving.processes("rank"), 10)
    until(lambda: serving.run("status").code == 6, 10)
    failure = json.loads(serving.run("status", "--json").out)["state"]["failure"]
    assert (failure["host"], failure["rank"]) == ("h1", 1)
    assert serving.run("down").code == 0  # what an agent that was killed could not take away itself
    serving.nothing_is_left()


@pytest.mark.slow
def test_a_peer_that_never_comes(operator: Operator) -> None:
    command = operator.start("up")
    until(lambda: len(operator.processes("rank")) == 2, 60)
    stopped = next(p for p in operator.processes("rank") if argument(p, "--rank") == "1")
    stopped.send_signal(signal.SIGSTOP)
    _, err = command.communicate(timeout=170)
    assert command.returncode == 6
    assert "rank 1" in err and "h1" in err and "remedy" in err
    stopped_cleanly(operator)


def test_an_interrupted_start_leaves_nothing(operator: Operator) -> None:
    command = operator.start("up")
    until(lambda: operator.processes("rank"), 60)
    command.send_signal(signal.SIGINT)
    command.communicate(timeout=20)
    assert command.returncode == 130
    stopped_cleanly(operator)


def test_a_profile_that_is_not_there(operator_with: Callable[..., Operator], tmp_path: Path) -> None:
    operator = operator_with()
    operator.profile = tmp_path / "none.toml"
    for command in ("check", "up", "status", "open"):
        ran = operator.run(command)
        assert ran.code == 2
        assert "none.toml" in ran.err and "Traceback" not in ran.err
