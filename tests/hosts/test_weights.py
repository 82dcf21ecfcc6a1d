"""Weights over OpenSSH to hosts that have no model: sent as shares, broken off, gone on with, served."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.cluster.weights_local import LocalModel, Sums
from console.cluster.weights_push import Push
from ringcore.spec.errors import ProvisionError
from tests.cluster.reach import reached
from tests.cluster.test_weights_push import WHOLE, model
from tests.hosts.room import RoomOperator
from tests.whole.harness import until

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
CAPITAL = ("chat", "-p", "Name the capital of France.")
SENT = re.compile(r"^(\S+) .*sent ([0-9.]+) MiB of the ([0-9.]+) MiB that its layers take", re.MULTILINE)


def test_hosts_are_sent_their_layers_and_serve_from_them(
    operator_with: Callable[..., RoomOperator],
) -> None:
    operator: RoomOperator = operator_with(top={"weights": "push"}, ring={"layers": [10, 10, 10]})
    up = operator.run("up")
    assert up.code == 0, up.err
    sent = {host: (float(sent), float(share)) for host, sent, share in SENT.findall(up.err)}
    assert set(sent) == {"first", "second", "third"}
    assert all(count == share for count, share in sent.values())
    chat = operator.run(*CAPITAL)
    assert chat.code == 0 and "Paris" in chat.out
    assert operator.run("down").code == 0
    for machine, layers in zip(operator.room.machines.values(), ((20, 30), (10, 20), (0, 10)), strict=True):
        found = {int(path.stem[-4:]) for path in machine.home.rglob("model-layer-*.safetensors")}
        assert found == set(range(*layers))
        assert {path.stat().st_uid for path in machine.home.rglob("model-*")} == {machine.uid}

    operator.ring["layers"] = [10, 11, 9]
    operator.write()
    deploy = operator.run("deploy")
    assert deploy.code == 0, deploy.err
    ((host, count, share),) = SENT.findall(deploy.err)
    assert host == "second" and float(count) < 0.2 * float(share)
    assert deploy.err.count("nothing to send") == 2


def test_a_server_that_ends_in_the_middle_is_told_and_the_next_run_goes_on(
    operator_with: Callable[..., RoomOperator],
) -> None:
    operator: RoomOperator = operator_with(top={"weights": "push"})
    machine = operator.room.machines["second"]
    command = operator.start("deploy")
    # not rglob: it fails of folders that deploying moves meanwhile
    until(lambda: list(machine.home.glob(".mlxring/models/*/model-*.part")), 60)
    machine.stop_sshd()
    out, err = command.communicate(timeout=60)
    assert command.returncode == 3, (out, err)
    assert "second" in err and "remedy" in err and "Traceback" not in err
    machine.start_sshd()
    deploy = operator.run("deploy")
    assert deploy.code == 0, deploy.err
    assert not list(machine.home.rglob("*.part"))


def test_a_disk_that_is_too_small_is_named_before_a_byte_goes_out(
    operator_with: Callable[..., RoomOperator],
) -> None:
    operator = operator_with(top={"weights": "push"}, ring={"layers": [10, 10, 10]})
    machine = operator.room.machines["first"]
    place = f"/home/{machine.user}/small"
    machine.run("mkdir", "-p", place)
    machine.run("mount", "-t", "tmpfs", "-o", "size=40m,mode=777", "tmpfs", place)
    operator.hosts[0]["home"] = f"{place}/ring"
    operator.write()
    try:
        deploy = operator.run("deploy")
        assert deploy.code == 4, deploy.err
        for words in ("first", "the weights that this host lacks take", "hosts.home"):
            assert words in deploy.err
        assert not list(machine.shown(place).rglob("model-*"))
    finally:
        machine.run("umount", "-l", place)


async def test_a_disk_that_fills_up_on_the_way_is_named_and_what_arrived_stays(tmp_path: Path) -> None:
    there = tmp_path / "home" / "models"
    there.mkdir(parents=True)
    small = tmp_path / "python"  # what receives finds a disk of 1 MiB there
    small.write_text(
        "#!/bin/sh\n"
        f'run="{sys.executable}"\n'
        f'case "$*" in *" receive {there}"*)\n'
        '  exec unshare --mount sh -c \'mount -t tmpfs -o size=1m tmpfs "$0" && exec "$@"\' '
        f'{there} "$run" "$@";;\n'
        'esac\nexec "$run" "$@"\n'
    )
    small.chmod(0o755)
    local = model(tmp_path / "local" / "toy")
    async with reached(tmp_path / "home") as host:
        push = Push(host, str(small), str(there / "toy"), Sums(tmp_path / "sums.json"))
        transfers, remove = await push.look(LocalModel(local).pieces(WHOLE, tokenizer=False))
        with pytest.raises(ProvisionError, match=r"the disk of .* is full") as caught:
            await push.send(transfers, remove, lambda _count: None)
    assert caught.value.failure.host == "h1"
    assert "what has arrived stays" in caught.value.failure.remedy
