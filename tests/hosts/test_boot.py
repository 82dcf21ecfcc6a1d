"""A ring that its hosts start themselves when they boot: by systemd of the user, without a console."""

import json
import signal
from collections.abc import Iterator
from functools import partial

import pytest

from tests.hosts.machine import Machine
from tests.hosts.room import Room, RoomOperator
from tests.whole.harness import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
CAPITAL = ("chat", "-p", "Name the capital of France.")
UNIT = "mlxring-t.service"


def unit(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.home / ".config").rglob(UNIT))


def left_alone(machine: Machine) -> bool:
    """systemd runs the unit no more, and is not about to."""
    said = machine.user_manager("show", "--property", "ActiveState,Result", UNIT)
    return set(said.split()) == {"ActiveState=inactive", "Result=success"}


def serves(operator: RoomOperator) -> bool:
    status = operator.run("status", "--json")
    return status.code == 0 and json.loads(status.out)["state"]["ring_phase"] == "serving"


def ranks(operator: RoomOperator) -> set[int]:
    return {process.pid for process in operator.processes("rank")}


@pytest.fixture(autouse=True)
def own_folders_of_systemd(room: Room) -> Iterator[None]:
    """Nothing that the test says of systemd outlives it."""
    for machine in room.machines.values():
        machine.run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/var/lib/systemd")
    yield
    for machine in room.machines.values():
        machine.run("umount", "/var/lib/systemd")
        machine.run("rm", "-rf", "/run/systemd")


@pytest.mark.timeout(400)
def test_a_ring_that_starts_at_boot_and_not_any_more(operator: RoomOperator) -> None:
    machines = list(operator.room.machines.values())
    refused = operator.run("up", "--boot")
    assert refused.code == 4, refused.err
    assert "does not run systemd" in refused.err and "remedy" in refused.err

    for machine in machines:
        machine.run("mkdir", "-p", "/run/systemd/system")
    refused = operator.run("up", "--boot")
    assert refused.code == 4, refused.err
    assert "sudo loginctl enable-linger op-first" in refused.err
    assert not any(unit(machine) for machine in machines) and not operator.processes()

    for machine in machines:
        machine.run("mkdir", "-p", "/var/lib/systemd/linger")
        machine.run("touch", f"/var/lib/systemd/linger/{machine.user}")
    up = operator.run("up", "--boot")
    assert up.code == 0, up.err
    assert all(len(unit(machine)) == 2 for machine in machines)  # the file, and that it is wanted

    for machine in machines:
        machine.lose_power()
    for machine in machines:
        machine.start_sshd()
        machine.start_user_manager()
    until(lambda: serves(operator), 90, lambda: operator.run("status").err)
    chat = operator.run(*CAPITAL)
    assert chat.code == 0 and "Paris" in chat.out

    before = ranks(operator)
    operator.rank(1).send_signal(signal.SIGKILL)  # the ring fails, and is started again
    # until its agent has noticed, what serves is the ring that has failed
    until(lambda: len(ranks(operator) - before) == 3 and serves(operator), 90)
    assert len(ranks(operator)) == 3

    down = operator.run("down")  # on purpose: systemd leaves it alone, and starts it at the next boot
    assert down.code == 0, down.err
    operator.nothing_is_left()
    for machine in machines:
        until(partial(left_alone, machine), 10)
        assert len(unit(machine)) == 2
        machine.user_manager("start", UNIT)
    until(lambda: serves(operator), 90, lambda: operator.run("status").err)

    down = operator.run("down", "--boot")
    assert down.code == 0, down.err
    operator.nothing_is_left()
    assert not any(unit(machine) for machine in machines)
