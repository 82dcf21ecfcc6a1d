"""Hosts reached with an operator's own ``~/.ssh``: what works, and each fault by host, cause and remedy."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.whole.harness import Operator, until

SECONDS = 5.0


@pytest.fixture
def reached(operator: Operator) -> Iterator[Operator]:
    """An operator whose second host is another SSH server, its keys and host key under ``~/.ssh``."""
    ssh = operator.folder / "home" / ".ssh"
    ssh.mkdir(mode=0o700)
    command = [sys.executable, "-m", "tests.whole.server", str(operator.folder / "h1"), str(ssh)]
    with subprocess.Popen(command, env={**operator.environment, "PYTHONPATH": "."}) as server:
        until(lambda: (ssh / "port").exists() and (ssh / "port").read_text(), 20)
        user, port = (ssh / "port").read_text().split()
        operator.hosts[1]["ssh"] = f"{user}@127.0.0.1:{port}"
        operator.write()
        yield operator
        server.kill()


def refused(operator: Operator, *words: str) -> None:
    up = operator.run("up")
    assert up.code == 3, up.err
    assert up.seconds < SECONDS
    for word in ("h1", "remedy", *words):
        assert word in up.err
    assert "Traceback" not in up.err
    operator.nothing_is_left()


def test_a_host_reached_with_the_operators_own_key_serves(reached: Operator) -> None:
    up = reached.run("up")
    assert up.code == 0, up.err
    chat = reached.run("chat", "-p", "Name the capital of France.")
    assert chat.code == 0 and "Paris" in chat.out
    assert reached.run("down", "--purge").code == 0
    reached.nothing_is_left()


def test_a_refused_key_names_user_and_keys(reached: Operator) -> None:
    ssh = reached.folder / "home" / ".ssh"
    (ssh / "id_ed25519").unlink()
    other = [
        shutil.which("ssh-keygen") or "ssh-keygen",
        "-q",
        "-t",
        "ed25519",
        "-N",
        "",
        "-f",
        str(ssh / "id_ed25519"),
    ]
    subprocess.run(other, check=True)
    refused(reached, "operator was refused", "ssh-copy-id")


def test_an_unknown_host_key_shows_its_fingerprint(reached: Operator) -> None:
    (reached.folder / "home" / ".ssh" / "known_hosts").unlink()
    refused(reached, "unknown", "SHA256:", "ssh-keyscan")


def test_a_changed_host_key_shows_both_fingerprints(reached: Operator) -> None:
    file = reached.folder / "home" / ".ssh" / "known_hosts"
    name, kind, _ = file.read_text().split()[:3]
    other = "AAAAC3NzaC1lZDI1NTE5AAAAIJ0lfaWNWGCKVJuZHzDdVZRyaHxZP4lqRhZgZN1MDFBh"
    file.write_text(f"{name} {kind} {other}\n")
    up = reached.run("up")
    assert up.code == 3
    assert "has changed" in up.err and up.err.count("SHA256:") >= 2 and "ssh-keygen -R" in up.err


def test_a_host_without_space_is_named_with_need_and_have(reached: Operator, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=20m", "disk", str(disk)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        del reached.hosts[1]["python"]  # so that a virtual environment is needed
        reached.hosts[1]["home"] = str(disk / "ring")
        reached.write()
        up = reached.run("up")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
    assert up.code == 4, up.err
    assert "h1" in up.err and "20" in up.err and "free" in up.err and "remedy" in up.err
    reached.nothing_is_left()
