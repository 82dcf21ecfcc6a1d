"""Agents of a real ring: from start to end, with consoles that come and go, and every kind of death."""

import json
import os
import signal
import socket
import urllib.request
from pathlib import Path

import pytest

from ringcore.spec.events import LogLine, MemoryUsed, RankChanged, RingChanged, StepCount
from tests.agent.harness import Agents, Make, write
from tests.ring.harness import free_ports, until


def serving(agents: Agents) -> str:
    """Start all; the API's address once the ring serves."""
    agents.start_all()
    url: str = agents.attach(0).wait(RingChanged, phase="serving").api_url
    return url


def ask(url: str, tokens: int = 8) -> str:
    body = {"messages": [{"role": "user", "content": "Name the capital of France."}], "max_tokens": tokens}
    request = urllib.request.Request(
        f"{url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return str(json.load(answer)["choices"][0]["message"]["content"])


def test_a_ring_serves_rests_and_ends_in_order_with_nothing_left(make_agents: Make) -> None:
    agents = make_agents([10, 20])
    url = serving(agents)
    assert ask(url)
    leader, member = agents.attach(0), agents.attach(1)
    member.wait(StepCount, rank=1)
    assert agents.process(0, "agent").memory_info().rss < 60 << 20
    agents.attach(0, stop=True).to_the_end()
    events = leader.to_the_end() and [e.phase for e in leader.events(RingChanged)]
    assert events == ["waiting", "loading", "joining", "serving", "stopping", "stopped"]
    member.to_the_end()
    for attachment in (leader, member):
        assert [r.seq for r in attachment.records] == list(range(1, len(attachment.records) + 1))
        phases = [event.phase for event in attachment.events(RankChanged)]
        assert phases[-2:] == ["stopping", "stopped"]
        assert attachment.events(MemoryUsed)
    agents.nothing_is_left()


def test_what_is_left_after_the_end_answers_from_the_journal(make_agents: Make) -> None:
    agents = make_agents()
    before = agents.attach(0)
    before.to_the_end()
    assert before.welcome is not None and before.welcome.last_seq == 0 and not before.welcome.running
    serving(agents)
    live = agents.attach(0)
    agents.attach(0, stop=True).to_the_end()
    agents.nothing_is_left()
    after = agents.attach(0)
    assert after.to_the_end() == live.to_the_end()
    assert after.welcome is not None and not after.welcome.running
    half = agents.attach(0, after=after.welcome.last_seq - 2, run_id="run1")
    assert [r.seq for r in half.to_the_end()] == [after.welcome.last_seq - 1, after.welcome.last_seq]
    other_run = agents.attach(0, after=3, run_id="another")
    assert other_run.to_the_end() == after.records


def test_a_console_that_dies_costs_the_ring_nothing(make_agents: Make) -> None:
    agents = make_agents()
    url = serving(agents)
    for _ in range(3):
        console = agents.attach(0)
        console.wait(RingChanged, phase="serving")
        console.process.send_signal(signal.SIGKILL)
    silent = socket.socket(socket.AF_UNIX)  # connects, and never says a word
    with silent:
        os.chdir(agents.run(0))
        silent.connect("agent.sock")
        assert ask(url)
    os.chdir("/")
    assert agents.attach(0, stop=True).to_the_end()
    agents.nothing_is_left()


def test_a_console_that_does_not_read_holds_nothing_up(make_agents: Make) -> None:
    agents = make_agents()
    url = serving(agents)
    console = agents.attach(0)
    console.wait(RingChanged, phase="serving")
    console.process.send_signal(signal.SIGSTOP)
    assert ask(url)
    assert agents.attach(0, stop=True).to_the_end()
    agents.nothing_is_left()
    console.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_a_killed_rank_is_named_and_every_host_ends(make_agents: Make, victim: int) -> None:
    agents = make_agents([10, 10, 10])
    serving(agents)
    hosts = [agents.attach(rank) for rank in range(3)]
    hosts[0].wait(RingChanged, phase="serving")
    agents.process(victim, "rank").send_signal(signal.SIGKILL)
    failure = hosts[0].wait(RingChanged, 5, phase="failed").failure
    assert (failure.host, failure.rank, failure.exit_code) == (f"h{victim}", victim, 6)
    assert "signal 9" in failure.cause and failure.remedy
    for rank, host in enumerate(hosts):
        host.to_the_end()
        last = host.events(RankChanged)[-1]
        assert last.phase == ("failed" if rank == victim else "stopped")
    agents.nothing_is_left()


def test_a_stopped_rank_is_noticed_though_its_sockets_stay_open(make_agents: Make) -> None:
    agents = make_agents()
    serving(agents)
    agents.process(1, "rank").send_signal(signal.SIGSTOP)
    failure = agents.attach(0).wait(RingChanged, 6, phase="failed").failure
    assert (failure.host, failure.rank) == ("h1", 1)
    assert "SIGSTOP" in failure.cause
    agents.nothing_is_left()


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_agent_takes_its_processes_with_it_and_is_named(make_agents: Make, victim: int) -> None:
    agents = make_agents()
    serving(agents)
    other = agents.attach(1 - victim)
    agents.process(victim, "agent").send_signal(signal.SIGKILL)
    records = other.to_the_end()
    failures = [
        r.event.failure for r in records if isinstance(r.event, RankChanged | RingChanged) and r.event.failure
    ]
    assert failures
    if victim == 1:
        assert (failures[0].host, failures[0].rank) == ("h1", 1)
        assert "agent is gone" in failures[0].cause
    else:
        assert "h0" in failures[0].cause
    until(lambda: not agents.left(), "every process to end", 6)
    assert agents.reap(victim) == 0  # sockets and pid file of the one that could not
    agents.nothing_is_left()


def test_a_silent_agent_is_noticed_by_its_missing_heartbeat(make_agents: Make) -> None:
    agents = make_agents()
    serving(agents)
    agent = agents.process(1, "agent")
    agent.send_signal(signal.SIGSTOP)
    failure = agents.attach(0).wait(RingChanged, 9, phase="failed").failure
    assert (failure.host, failure.rank) == ("h1", 1)
    assert "5 s" in failure.cause
    assert agents.reap(1, "--now") == 0
    agents.nothing_is_left()


def test_a_killed_gateway_ends_the_ring(make_agents: Make) -> None:
    agents = make_agents([30])
    serving(agents)
    agents.process(0, "gateway").send_signal(signal.SIGKILL)
    failure = agents.attach(0).wait(RingChanged, 5, phase="failed").failure
    assert failure.host == "h0" and "gateway" in failure.cause
    agents.nothing_is_left()


def test_a_rank_that_cannot_load_says_why_and_the_others_end(make_agents: Make, tmp_path: Path) -> None:
    agents = make_agents()
    agents.deploy("run1", model_path=str(tmp_path / "nothing"))
    agents.start_all()
    failure = agents.attach(0).wait(RingChanged, 20, phase="failed").failure
    assert failure.exit_code == 5
    assert "nothing" in failure.cause and failure.remedy
    agents.nothing_is_left()


def test_a_member_told_to_stop_alone_ends_the_ring(make_agents: Make) -> None:
    agents = make_agents()
    serving(agents)
    agents.attach(1, stop=True).to_the_end()
    failure = agents.attach(0).wait(RingChanged, 5, phase="failed").failure
    assert (failure.host, failure.rank) == ("h1", 1)
    assert "operator" in failure.cause
    agents.nothing_is_left()


def test_sigterm_ends_a_ring_in_order(make_agents: Make) -> None:
    agents = make_agents()
    serving(agents)
    agents.process(0, "agent").send_signal(signal.SIGTERM)
    agents.attach(0).wait(RingChanged, 8, phase="stopped")
    agents.nothing_is_left()


def test_reap_ends_a_ring_whose_agent_hangs(make_agents: Make) -> None:
    agents = make_agents([30])
    serving(agents)
    agents.process(0, "agent").send_signal(signal.SIGSTOP)
    agents.process(0, "rank").send_signal(signal.SIGSTOP)
    assert agents.reap(0, "--now") == 0
    agents.nothing_is_left()
    assert agents.reap(0) == 0  # nothing to do


def test_two_agents_never_share_a_run_folder(make_agents: Make) -> None:
    agents = make_agents()
    assert agents.start(1)["ok"]
    second = agents.start(1)
    assert not second["ok"] and "already" in second["failure"]["cause"]
    assert second["failure"]["host"] == "h1"


def test_a_stranger_with_another_secret_is_refused_and_changes_nothing(make_agents: Make) -> None:
    agents = make_agents()
    write(agents.run(1) / "secret", b"t" * 32)
    for rank in (0, 1):
        assert agents.start(rank)["ok"]
    member = agents.attach(1)
    member.to_the_end()
    assert "something else" in member.events(RankChanged, phase="failed")[0].failure.cause
    leader = agents.attach(0)
    leader.wait(LogLine, level="WARNING")
    assert not leader.events(RingChanged, phase="loading")
    agents.attach(0, stop=True).to_the_end()
    agents.nothing_is_left()


def test_an_agent_of_another_run_is_refused(make_agents: Make) -> None:
    agents = make_agents()
    agents.start(0)
    agents.deploy("run2")
    agents.start(1)
    agents.attach(1).to_the_end()
    leader = agents.attach(0)
    warning = leader.wait(LogLine, level="WARNING")
    assert "another run" in warning.text
    agents.attach(0, stop=True).to_the_end()
    agents.nothing_is_left()


@pytest.mark.parametrize(("which", "rank"), [("link", 1), ("control", 0), ("api", 0)])
def test_a_port_that_is_taken_is_named_before_anything_starts(
    make_agents: Make, which: str, rank: int
) -> None:
    agents = make_agents()
    port = {"link": agents.link_ports[1], "control": agents.control_port, "api": agents.api_port}[which]
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        answer = agents.start(rank)
    assert not answer["ok"]
    failure = answer["failure"]
    assert failure["host"] == f"h{rank}" and f":{port}" in failure["cause"] and failure["remedy"]
    agents.nothing_is_left()


def test_an_address_that_is_not_the_hosts_is_named(make_agents: Make) -> None:
    agents = make_agents()
    members = [
        {"rank": 0, "host": "h0", "address": "127.0.0.1", "link_port": free_ports(1)[0]},
        {"rank": 1, "host": "h1", "address": "192.0.2.7", "link_port": free_ports(1)[0]},
    ]
    agents.deploy("run1", members=members)
    failure = agents.start(1)["failure"]
    assert "192.0.2.7" in failure["cause"] and failure["host"] == "h1"


@pytest.mark.parametrize(("name", "data", "word"), [
    ("deployment.json", b"{", "deployment.json"),
    ("secret", b"short", "secret"),
])  # fmt: skip
def test_a_damaged_run_folder_is_named(make_agents: Make, name: str, data: bytes, word: str) -> None:
    agents = make_agents()
    write(agents.run(0) / name, data)
    assert word in agents.start(0)["failure"]["cause"]


def test_a_secret_that_others_can_read_is_refused(make_agents: Make) -> None:
    agents = make_agents()
    (agents.run(0) / "secret").chmod(0o644)
    assert "readable by others" in agents.start(0)["failure"]["cause"]


def test_sockets_and_logs_are_for_their_owner_only(make_agents: Make) -> None:
    agents = make_agents([30])
    serving(agents)
    for path in agents.run(0).iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
    agents.attach(0, stop=True).to_the_end()
