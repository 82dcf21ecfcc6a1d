"""The whole chain over OpenSSH: three hosts, three shells, two networks, one behind another."""

import json

import pytest

from tests.hosts.room import PORT, RING, RoomOperator, established, user_id

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
CAPITAL = ("chat", "-p", "Name the capital of France.")


def test_check_tells_what_each_host_is(operator: RoomOperator) -> None:
    check = operator.run("check", "--json")
    assert check.code == 0, check.err
    facts = {host["name"]: host["facts"] for host in json.loads(check.out)["hosts"]}
    shells = {name: fact["shell"] for name, fact in facts.items()}
    assert shells == {"first": "/bin/dash", "second": "/bin/bash", "third": "/usr/bin/fish"}
    for name, fact in facts.items():
        assert (fact["user"], fact["home"]) == (f"op-{name}", f"/home/op-{name}")
        assert RING[name] in [address["address"] for address in fact["addresses"]]


def test_from_nothing_to_an_answer_and_back_to_nothing(operator: RoomOperator) -> None:
    machines = operator.room.machines
    plan = operator.run("plan", "--json")
    assert plan.code == 0, plan.err
    assert [stage["host"] for stage in json.loads(plan.out)["stages"]] == list(RING)
    assert not any((machine.home / ".mlxring").exists() for machine in machines.values())

    for step in ("provision", "deploy"):
        done = operator.run(step)
        assert done.code == 0, done.err
        assert all((machine.home / ".mlxring").exists() for machine in machines.values())
        assert not operator.processes()

    up = operator.run("up", "--json")
    assert up.code == 0, up.err
    assert json.loads(up.out)["phase"] == "serving"
    chat = operator.run(*CAPITAL, "--json")
    assert chat.code == 0, chat.err
    assert "Paris" in json.loads(chat.out)["text"]

    for number, machine in enumerate(machines.values()):
        assert user_id(operator.rank(number)) == machine.uid
        links = {
            pair
            for pair in established(machine)
            if any(f":{PORT + 1 + n}" in "".join(pair) for n in range(3))
        }
        assert links, f"no link on {machine.name}"
        for ends in links:
            assert all(end.startswith("10.77.0.1") and end.split(":")[0] in RING.values() for end in ends)

    status = json.loads(operator.run("status", "--json").out)["state"]
    assert [host["phase"] for host in status["hosts"]] == ["ready"] * 3
    assert all(host["steps"] > 0 for host in status["hosts"])
    logs = operator.run("logs", "--rank", "2")
    assert logs.code == 0 and "rank 2" in logs.out and "rank 0" not in logs.out
    assert "Welcome" not in logs.out  # what login shells say is no line of a rank

    down = operator.run("down")
    assert down.code == 0, down.err
    operator.nothing_is_left()
    assert operator.run("down", "--purge").code == 0
    assert not any((machine.home / ".mlxring").exists() for machine in machines.values())


def test_the_second_start_has_nothing_to_install(operator: RoomOperator) -> None:
    for installs in (True, False):
        up = operator.run("up")
        assert up.code == 0, up.err
        assert ("mkdir" in up.err) == installs
        assert operator.run("down").code == 0
    provision = operator.run("provision")
    assert provision.code == 0
    assert provision.err.count("nothing to do") == 3 and "mkdir" not in provision.err
    operator.nothing_is_left()
