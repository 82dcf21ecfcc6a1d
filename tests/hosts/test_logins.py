"""Logins at OpenSSH's own server as people have them: first contact, passphrases, agent, passwords."""

import json
import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.hosts.needs import TIED, command, key_pair
from tests.hosts.room import OFFICE, RING, RoomOperator
from tests.whole.harness import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
PHRASE = "correct; $(horse) 'battery'"


def keeps(operator: RoomOperator, address: str) -> bool:
    """ssh-keygen finds ``address`` in known_hosts."""
    found = subprocess.run(
        ["ssh-keygen", "-F", address, "-f", str(operator.room.ssh / "known_hosts")], capture_output=True
    )
    return found.returncode == 0


def test_new_hosts_are_shown_asked_about_and_kept_also_behind_a_jump_host(operator: RoomOperator) -> None:
    file = operator.room.ssh / "known_hosts"
    file.unlink()
    refused = operator.run("check")
    assert refused.code == 3 and "is unknown" in refused.out and "--accept-new-host-keys" in refused.out
    assert not file.exists()

    seat = operator.sits_down("check")
    shown = {RING["third"]: "third", OFFICE["first"]: "first", OFFICE["second"]: "second"}
    for _ in shown:
        seat.types("yes", "[yes/no]")
    assert seat.end() == 0, seat.shown
    for address, name in shown.items():
        keys = operator.room.machines[name].folder.glob("key_*.pub")
        fingerprints = [command("ssh-keygen", "-lf", str(key)).split()[1] for key in keys]
        assert any(fingerprint in seat.shown for fingerprint in fingerprints)
        assert keeps(operator, address)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert operator.run("check").code == 0


def test_a_script_may_accept_new_hosts_and_no_changed_one(operator: RoomOperator) -> None:
    (operator.room.ssh / "known_hosts").unlink()
    assert operator.run("check", "--accept-new-host-keys").code == 0
    operator.room.machines["second"].new_host_keys()
    operator.room.machines["second"].restart_sshd()
    changed = operator.run("check", "--accept-new-host-keys")
    assert changed.code == 3 and "has changed" in changed.err


@pytest.fixture
def locked(operator: RoomOperator) -> Iterator[Path]:
    """The operator's key has a passphrase."""
    room, key = operator.room, operator.room.ssh / "ring_key"
    key_pair(key, passphrase=PHRASE)
    for machine in room.machines.values():
        machine.authorize(key)
    yield key
    room.new_key()


def test_a_passphrase_is_asked_for_once_for_three_hosts(operator: RoomOperator, locked: Path) -> None:
    refused = operator.run("check")
    assert refused.code == 3 and f"ssh-add {locked}" in refused.out
    seat = operator.sits_down("check")
    seat.types("wrong", f"Passphrase of {locked}:")
    seat.types(PHRASE, f"Passphrase of {locked}:")
    assert seat.end() == 0, seat.shown
    assert seat.shown.count("Passphrase of") == 2
    assert "battery" not in seat.shown and "wrong\r" not in seat.shown


def test_a_key_in_the_agent_needs_no_passphrase(operator: RoomOperator, locked: Path, tmp_path: Path) -> None:
    socket = tmp_path / "agent"
    agent = subprocess.Popen([*TIED, "ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        until(socket.exists, 10)
        answer = tmp_path / "answer"
        answer.write_text('#!/bin/sh\nprintf "%s\\n" "$PHRASE"\n')
        answer.chmod(0o755)
        asked = {"SSH_AUTH_SOCK": str(socket), "SSH_ASKPASS": str(answer), "SSH_ASKPASS_REQUIRE": "force"}
        subprocess.run(
            ["ssh-add", "-q", str(locked)],
            env={**os.environ, **asked, "PHRASE": PHRASE},
            check=True,
            timeout=20,
        )
        check = replace(operator, variables={"SSH_AUTH_SOCK": str(socket)}).run("check")
        assert check.code == 0, check.err
    finally:
        agent.kill()
        agent.wait(10)


def test_a_password_is_asked_for_where_no_key_is_taken(operator: RoomOperator) -> None:
    machine = operator.room.machines["second"]
    machine.authorize()
    machine.set_password("open sesame")
    machine.restart_sshd("PasswordAuthentication yes")
    try:
        refused = operator.run("check")
        assert refused.code == 3 and "takes a password too" in refused.out
        seat = operator.sits_down("check")
        account = f"Password of op-second@{OFFICE['second']}:"
        seat.types("wrong", account)
        seat.types("open sesame", account)
        assert seat.end() == 0, seat.shown
        assert "sesame" not in seat.shown
        assert "sesame" not in (operator.folder / "home/.local/state/mlxring/audit.log").read_text()
    finally:
        machine.set_password("")


def test_two_operators_one_at_work_and_one_who_is_told(operator: RoomOperator) -> None:
    other = replace(operator, variables={"USER": "somebody-else", "LOGNAME": "somebody-else"})
    first = operator.room.machines["first"]
    up = operator.start("up")
    until((first.home / ".mlxring-hold-t").exists, 30)
    told = other.run("down")
    assert told.code == 6, told.err
    assert "another operator is at work on the ring t: nobody-special@" in told.err
    _, err = up.communicate(timeout=90)
    assert up.returncode == 0, err
    assert not list(first.home.glob(".mlxring-hold-*"))

    again = other.run("up")
    assert again.code == 6 and "started by nobody-special@" in again.err
    assert other.run("status").code == 0  # watching is free
    mistaken = other.run("down")
    assert mistaken.code == 6 and "was started by another operator: nobody-special@" in mistaken.err
    assert other.run("status").code == 0
    assert other.run("down", "--yes").code == 0
    operator.nothing_is_left()

    log = operator.folder / "home/.local/state/mlxring/audit.log"
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for host in RING:
        ended = [action for action in actions if action["host"] == host and "exit" in action]
        assert any(action["command"].startswith("ssh ") and action["exit"] == 0 for action in ended)
        assert any("agent" in action["command"].split() for action in ended)
