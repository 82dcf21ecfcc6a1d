"""Trouble between real hosts: every fault is named with host, cause and remedy, and nothing stays running."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.hosts.network import drop
from tests.hosts.room import OFFICE, PORT, RING, RoomOperator
from tests.whole.harness import Ran, until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
CAPITAL = ("chat", "-p", "Name the capital of France.")
LONG = ("chat", "-p", "Count from one to two hundred in words.")


def answering(operator: RoomOperator) -> "subprocess.Popen[str]":
    """A chat in the middle of its answer."""
    command = operator.start(*LONG)
    assert command.stdout is not None
    assert command.stdout.read(8)
    return command


def end_of(command: "subprocess.Popen[str]", timeout: float = 30) -> Ran:
    began = time.monotonic()
    out, err = command.communicate(timeout=timeout)
    assert command.returncode is not None
    assert "Traceback" not in err
    return Ran(command.returncode, out, err, time.monotonic() - began)


def failure_of(operator: RoomOperator) -> dict[str, object]:
    status = operator.run("status", "--json")
    assert status.code == 6, status.err
    failure: dict[str, object] = json.loads(status.out)["state"]["failure"]
    assert failure["remedy"]
    return failure


def serves(operator: RoomOperator) -> None:
    up = operator.run("up")
    assert up.code == 0, up.err
    chat = operator.run(*CAPITAL)
    assert chat.code == 0 and "Paris" in chat.out
    assert operator.run("down").code == 0
    operator.nothing_is_left()


# a ring that serves ----------------------------------------------------------------------------------
def test_a_rank_behind_the_jump_host_killed_while_answering(serving: RoomOperator) -> None:
    chat = answering(serving)
    serving.rank(2).send_signal(signal.SIGKILL)
    ended = end_of(chat)
    assert ended.code == 6
    for words in ("third", "rank 2", "signal 9", "remedy"):
        assert words in ended.err
    serving.nothing_is_left()
    failure = failure_of(serving)
    assert (failure["rank"], failure["host"]) == (2, "third")


def test_a_pulled_cable_names_the_host_while_ssh_to_it_goes_on(serving: RoomOperator) -> None:
    following = serving.start("logs", "--follow")
    chat = answering(serving)
    serving.room.cables["second", "ring"].pull()
    ended = end_of(chat)
    assert ended.code == 6
    assert ended.seconds < 10
    assert "second" in ended.err and "nothing was heard for 5 s" in ended.err and "remedy" in ended.err
    serving.nothing_is_left(20)
    followed = end_of(following)
    assert (followed.code, followed.err) == (0, "")  # the cable was not the console's
    assert "second" in followed.out
    failure = failure_of(serving)
    assert (failure["rank"], failure["host"]) == (1, "second")
    serving.room.cables["second", "ring"].plug_in()
    assert serving.run("down").code == 0
    serves(serving)


def test_a_host_that_lost_its_power_is_named_and_clean_when_it_is_back(serving: RoomOperator) -> None:
    machine = serving.room.machines["second"]
    cables = [serving.room.cables["second", network] for network in ("ring", "office")]
    chat = answering(serving)
    for cable in cables:
        cable.pull()
    machine.lose_power()
    ended = end_of(chat)
    assert ended.code == 6
    assert "second" in ended.err and "remedy" in ended.err
    serving.nothing_is_left(20, ("first", "third"))

    down = serving.run("down")  # without the host, the others are cleared all the same
    assert down.code == 3
    assert "second" in down.err and OFFICE["second"] in down.err and "remedy" in down.err

    for cable in cables:
        cable.plug_in()
    machine.start_sshd()
    assert failure_of(serving)["host"] == "second"
    assert serving.run("down").code == 0
    serves(serving)


def test_sshd_that_ends_in_the_middle_of_an_answer_leaves_the_ring_serving(serving: RoomOperator) -> None:
    machine = serving.room.machines["first"]
    chat = answering(serving)
    ranks = {serving.rank(number).pid for number in range(3)}
    machine.stop_sshd()
    ended = end_of(chat)
    assert ended.code == 3, ended.err
    assert "first" in ended.err and "SSH" in ended.err and "remedy" in ended.err
    status = serving.run("status")
    assert status.code == 3
    assert "first" in status.err and "no SSH server listens" in status.err

    machine.start_sshd()
    status = serving.run("status", "--json")
    assert status.code == 0, status.err
    assert json.loads(status.out)["state"]["ring_phase"] == "serving"
    assert {serving.rank(number).pid for number in range(3)} == ranks
    again = serving.run(*CAPITAL)
    assert again.code == 0 and "Paris" in again.out
    logs = serving.run("logs", "--json")
    assert logs.code == 0
    records = [json.loads(line) for line in logs.out.splitlines()]
    for host in RING:
        numbers = [record["seq"] for record in records if record["host"] == host]
        assert numbers == sorted(set(numbers)) and numbers
    state = json.loads(serving.run("status", "--json").out)["state"]
    assert all(host["failure"] is None for host in state["hosts"])  # a gap in a journal would be one
    assert serving.run("down").code == 0
    serving.nothing_is_left()


# a ring that does not start ---------------------------------------------------------------------------
def test_a_firewall_in_front_of_a_link_port_is_named_before_anything_is_put_on_a_host(
    operator: RoomOperator,
) -> None:
    drop(operator.room.machines["third"].pid, f"tcp dport {PORT + 3}")
    for command in ("check", "up"):
        ended = operator.run(command)
        assert ended.code == 6, ended.err
        assert ended.seconds < 15
        said = ended.out + ended.err
        for other in ("first", "second"):
            assert f"{other} does not reach third at {RING['third']}, port {PORT + 3}: no answer" in said
        assert "firewall on third" in said and "remedy" in said
    assert not any((machine.home / ".mlxring").exists() for machine in operator.room.machines.values())
    operator.nothing_is_left()


def test_a_firewall_that_lets_one_direction_through_only(operator: RoomOperator) -> None:
    drop(operator.room.machines["first"].pid, f"iifname ring tcp dport {PORT}")
    up = operator.run("up")
    assert up.code == 6, up.err
    for other in ("second", "third"):
        assert f"{other} does not reach first at {RING['first']}, port {PORT}: no answer" in up.err
    assert "firewall on first" in up.err and "remedy" in up.err
    operator.nothing_is_left()


def test_a_port_that_another_program_has_is_named_by_check(operator: RoomOperator) -> None:
    machine = operator.room.machines["second"]
    listen = (
        f"import socket, time; s = socket.create_server(('{RING['second']}', {PORT + 2})); time.sleep(60)"
    )
    machine.start(sys.executable, "-c", listen)
    until(lambda: f":{PORT + 2:04X} 00000000:0000 0A" in machine.sockets(), 10)
    check = operator.run("check")
    assert check.code == 6, check.err
    assert (
        f"second: the ring's link cannot listen on {RING['second']}:{PORT + 2}: the port is taken"
        in check.out
    )


def refused(operator: RoomOperator, *words: str) -> None:
    up = operator.run("up")
    assert up.code == 3, up.err
    assert up.seconds < 10
    for word in (*words, "remedy"):
        assert word in up.err, f"{word} not in {up.err}"
    assert "Traceback" not in up.err
    assert not operator.processes()


def check_failures(operator: RoomOperator) -> dict[str, dict[str, str]]:
    """What `check` could not do, by host."""
    check = operator.run("check", "--json")
    assert check.code == 3, check.err
    assert check.seconds < 10
    hosts = json.loads(check.out)["hosts"]
    return {host["name"]: host["failure"] for host in hosts if host["failure"]}


def test_a_host_key_that_was_made_anew(operator: RoomOperator) -> None:
    for host, address in (("second", OFFICE["second"]), ("third", RING["third"])):
        operator.room.machines[host].new_host_keys()
        operator.room.machines[host].restart_sshd()
        refused(
            operator, host, f"the host key of {address} has changed", "SHA256:", f"ssh-keygen -R '{address}'"
        )
        operator.room.write_known_hosts()


def test_a_changed_key_of_the_jump_host_is_told_of_the_jump_host(operator: RoomOperator) -> None:
    operator.room.machines["first"].new_host_keys()
    operator.room.machines["first"].restart_sshd()
    failures = check_failures(operator)
    assert set(failures) == {"first", "third"}
    for failure in failures.values():
        assert f"the host key of {OFFICE['first']} has changed" in failure["cause"]
        assert "connect once with `ssh first`" in failure["remedy"]


def test_a_refused_key_names_user_and_keys(operator: RoomOperator) -> None:
    for host in ("second", "third"):
        machine = operator.room.machines[host]
        machine.authorize()
        refused(operator, f"user op-{host} was refused", "ring_key", "ssh-copy-id")
        machine.authorize(operator.room.ssh / "ring_key")


def test_a_jump_host_that_refuses_is_named(operator: RoomOperator) -> None:
    operator.room.machines["first"].authorize()
    failures = check_failures(operator)
    assert set(failures) == {"first", "third"}
    refusal = f"first ({OFFICE['first']} port 22); tried the keys ring_key"
    assert failures["first"]["cause"] == f"user op-first was refused by {refusal}"
    assert failures["third"]["cause"] == f"user op-first was refused by the jump host {refusal}"
    assert "ssh-copy-id first" in failures["third"]["remedy"]


def test_a_jump_host_that_is_down_is_told_of_the_jump_host(operator: RoomOperator) -> None:
    operator.room.machines["first"].stop_sshd()
    failures = check_failures(operator)
    assert set(failures) == {"first", "third"}
    place = f"first ({OFFICE['first']} port 22) refused the connection: no SSH server listens there"
    assert failures["first"]["cause"] == place
    assert failures["third"]["cause"] == f"the jump host {place}"


def test_an_older_agent_that_runs_is_replaced_only_when_that_is_wanted(serving: RoomOperator) -> None:
    older = "0123456789abcdef"
    for machine in serving.room.machines.values():
        (code,) = machine.home.glob(".mlxring/code-*")
        copy = code.with_name(f"code-{older}")
        ours = f"/home/{machine.user}/.mlxring"
        machine.run("cp", "-a", f"{ours}/{code.name}", f"{ours}/{copy.name}")
        (copy / "ringcore" / "__init__.py").write_text('__version__ = "0.0.9"\n')
        launcher = machine.home / ".mlxring" / "runs" / "t" / "ringcore"
        launcher.write_text(launcher.read_text().replace(code.name, copy.name))
    pids = {serving.rank(number).pid for number in range(3)}
    up = serving.run("up")
    assert up.code == 6, up.err
    assert "already runs here with ringcore 0.0.9 (code 01234567); this console has" in up.err
    assert "--yes" in up.err
    assert {serving.rank(number).pid for number in range(3)} == pids

    up = serving.run("up", "--yes")
    assert up.code == 0, up.err
    assert not pids & {serving.rank(number).pid for number in range(3)}
    for machine in serving.room.machines.values():
        assert older not in (machine.home / ".mlxring" / "runs" / "t" / "ringcore").read_text()
    chat = serving.run(*CAPITAL)
    assert chat.code == 0 and "Paris" in chat.out
    assert serving.run("down").code == 0
    serving.nothing_is_left()


def test_a_jump_host_that_forwards_nothing(operator: RoomOperator) -> None:
    operator.room.machines["first"].restart_sshd("AllowTcpForwarding no")
    failures = check_failures(operator)
    assert set(failures) == {"third"}
    assert "the jump host first did not lead to third (10.77.0.13 port 22)" in failures["third"]["cause"]
    assert "AllowTcpForwarding" in failures["third"]["remedy"]


def test_jump_hosts_that_lead_in_a_circle(operator: RoomOperator) -> None:
    config = operator.room.ssh / "config"
    text = config.read_text()
    config.write_text(text.replace("User op-first", "User op-first\n  ProxyJump third"))
    try:
        failures = check_failures(operator)
    finally:
        config.write_text(text)
    assert set(failures) == {"first", "third"}
    assert all("circle" in failure["cause"] for failure in failures.values())


def test_a_leader_that_forwards_only_to_the_host_behind_it(serving: RoomOperator) -> None:
    serving.room.machines["first"].restart_sshd(f"PermitOpen {RING['third']}:22")
    chat = serving.run(*CAPITAL)
    assert chat.code == 3, chat.err
    assert "first" in chat.err and "AllowTcpForwarding" in chat.err


def test_an_account_that_may_only_copy_files(operator: RoomOperator) -> None:
    operator.room.machines["second"].restart_sshd("ForceCommand internal-sftp")
    failures = check_failures(operator)
    assert set(failures) == {"second"}
    assert "This service allows sftp connections only." in failures["second"]["cause"]
    assert "may run commands" in failures["second"]["remedy"]


def test_a_server_that_takes_few_sessions(operator: RoomOperator) -> None:
    for machine in operator.room.machines.values():
        machine.restart_sshd("MaxSessions 2")
    serves(operator)
