"""The operator's ~/.ssh/config: followed for hosts of the profile, and for nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from console.cluster.ssh import connect
from console.cluster.target import Target
from ringcore.spec.errors import HostError
from tests.cluster.reach import options, served


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], object]:
    """Writes it."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return (tmp_path / ".ssh" / "config").write_text


async def test_it_has_no_say_over_a_server_of_our_own(
    config: Callable[[str], object], tmp_path: Path
) -> None:
    config("Host *\n  ProxyJump 127.0.0.1:1\n  User somebody\n  Port 1\n")
    server = served(tmp_path / "host")
    try:
        host = await connect(options(), await server.start())
        assert (await host.run(["/bin/echo", "here"])).stdout == "here\n"
        await host.close()
    finally:
        await server.close()


async def test_messages_show_where_an_alias_led(config: Callable[[str], object]) -> None:
    config("Host mini\n  HostName 127.0.0.1\n  Port 1\n")
    with pytest.raises(HostError, match=r"mini \(127\.0\.0\.1 port 1\) refused the connection"):
        await connect(options(), Target(host="mini"))


async def test_a_jump_host_that_is_not_there_is_the_one_named(config: Callable[[str], object]) -> None:
    config("Host mini\n  ProxyJump gate\nHost gate\n  HostName 127.0.0.1\n  Port 1\n")
    with pytest.raises(HostError, match=r"the jump host gate \(127\.0\.0\.1 port 1\) refused the connection"):
        await connect(options(), Target(host="mini"))


async def test_jump_hosts_that_lead_in_a_circle_end(config: Callable[[str], object]) -> None:
    config("Host *\n  ProxyJump gate\n")
    with pytest.raises(HostError, match="lead in a circle, through gate"):
        await connect(options(), Target(host="mini"))


async def test_the_quickest_cipher_is_taken_unless_the_configuration_names_others(
    config: Callable[[str], object], tmp_path: Path
) -> None:
    server = served(tmp_path / "host")
    target = await server.start()
    assert target.client_key and target.known_hosts
    key = tmp_path / ".ssh" / "id_ed25519"
    key.write_bytes(target.client_key)
    key.chmod(0o600)
    (tmp_path / ".ssh" / "known_hosts").write_bytes(target.known_hosts)
    entry = f"Host mini\n  HostName 127.0.0.1\n  Port {target.port}\n  User {target.user}\n"
    try:
        for more, expected in (("", "aes128-gcm@openssh.com"), ("  Ciphers aes256-ctr\n", "aes256-ctr")):
            config(entry + more)
            host = await connect(options(), Target(host="mini"))
            assert host._connection.get_extra_info("send_cipher") == expected
            await host.close()
    finally:
        await server.close()
