"""Blocks of the prefix cache over OpenSSH: from the disks of three hosts into an archive, and back."""

import json
from pathlib import Path

import pytest

from tests.hosts.room import RING, RoomOperator
from tests.whole.harness import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
PROMPT = " ".join(f"{n} and {n} make {2 * n}." for n in range(1, 25)) + " What do 2 and 2 make? One number."


def asked(operator: RoomOperator) -> tuple[str, int]:
    chat = operator.run("chat", "-p", PROMPT, "--json")
    assert chat.code == 0, chat.err
    answer = json.loads(chat.out)
    return answer["text"], answer["figures"]["cached_tokens"]


@pytest.mark.timeout(170)
def test_what_three_hosts_kept_is_exported_cleared_imported_and_used(operator_with, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    operator: RoomOperator = operator_with(top={"cache": {"disk": "200 MiB"}}, ring={"context": 512})
    file = tmp_path / "kept.tar"
    assert operator.run("up").code == 0
    cold, none = asked(operator)
    again, warm = asked(operator)
    assert (again, none) == (cold, 0) and warm >= 64

    def on_disk() -> list[int]:
        hosts = json.loads(operator.run("cache", "--json").out)["hosts"]
        return [each["disk_blocks"] - each["blocks"] for each in hosts.values()]

    until(lambda: on_disk() == [0, 0, 0], 30)
    exported = operator.run("cache", "--export", str(file), "--json")
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)["partial"] == 0
    assert operator.run("down").code == 0
    assert operator.run("cache", "--clear").code == 0
    assert not [path for machine in operator.room.machines.values() for path in machine.home.rglob("prefix")]

    taken = operator.run("cache", "--import", str(file))
    assert taken.code == 0, taken.err
    listed = operator.run("cache")
    assert all(name in listed.out for name in RING), listed.out
    for machine in operator.room.machines.values():
        files = list(machine.home.rglob("prefix/*/*.safetensors"))
        assert files and all(path.stat().st_uid == machine.uid for path in files)
    assert operator.run("up").code == 0
    assert asked(operator) == (cold, warm)
    assert operator.run("down").code == 0
    operator.nothing_is_left()
