"""A host with nothing of ours: its environment is made from the package index, over OpenSSH, as its user.

It is the one machine with a way out: on this machine's own network, its server at 127.0.77.1 only.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts.machine import Machine
from tests.hosts.needs import key_pair, missing
from tests.whole.harness import Operator

pytestmark = [pytest.mark.hosts, pytest.mark.slow]
ADDRESS = "127.0.77.1"
CAPITAL = ("chat", "-p", "Name the capital of France.")


@pytest.fixture
def bare(tmp_path: Path, demo_model_path: Path) -> Iterator[Machine]:
    if lacking := missing():
        pytest.fail(lacking, pytrace=False)
    # what pip needs to find the index from here
    names = [name for name in os.environ if name.startswith("PIP_") or name.lower().endswith("_proxy")]
    variables = " ".join(f'"{name}={os.environ[name]}"' for name in names)
    machine = Machine(
        "bare", tmp_path / "bare", "/bin/bash", demo_model_path, 61004,
        environment=variables, listen=ADDRESS, online=True,
    )  # fmt: skip
    yield machine
    machine.close()


@pytest.fixture
def operator(bare: Machine, tmp_path: Path, demo_model_path: Path) -> Operator:
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    key_pair(ssh / "id_ed25519")
    (ssh / "known_hosts").write_text(f"{ADDRESS} {bare.public_key()}\n")
    bare.authorize(ssh / "id_ed25519")
    host = {"name": "bare", "ssh": f"{bare.user}@{ADDRESS}", "address": "127.0.0.1"}
    return Operator(tmp_path, demo_model_path, ranks=1, hosts=[host])


@pytest.mark.timeout(900)
def test_a_bare_host_is_provisioned_from_the_index_and_answers(operator: Operator, bare: Machine) -> None:
    provision = operator.run("provision", timeout=800)
    assert provision.code == 0, provision.err
    assert "pip" in provision.err
    (python,) = bare.home.glob(".mlxring/venv-*/bin/python")
    assert python.lstat().st_uid == bare.uid
    assert not list(bare.home.glob(".mlxring/*.new"))

    up = operator.run("up")
    assert up.code == 0, up.err
    assert "nothing to do" in up.err
    (rank,) = bare.processes("ringcore", "rank")
    assert rank.info["cmdline"][0].startswith(f"/home/{bare.user}/.mlxring/venv-")
    chat = operator.run(*CAPITAL)
    assert chat.code == 0 and "Paris" in chat.out

    assert operator.run("down", "--purge").code == 0
    assert not (bare.home / ".mlxring").exists()
    assert not bare.processes("ringcore")
    print(f"provision {provision.seconds:.0f} s, up {up.seconds:.0f} s, chat {chat.seconds:.0f} s")
