"""The console from a host that nobody knows to one that is reached: what it asks, and nothing twice."""

import asyncio
from pathlib import Path

import asyncssh
import pytest

from console.compose import operator_for
from console.screen.app import ConsoleApp
from console.screen.asking import ScreenAsker, TrustKey, TypeSecret
from ringcore.spec.profile import HostOptions, Profile
from tests.cluster.reach import served, until


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    (tmp_path / ".ssh").mkdir(mode=0o700)
    return tmp_path / ".ssh"


async def test_the_host_key_and_the_passphrase_are_asked_for_in_dialogs(ssh: Path, tmp_path: Path) -> None:
    server = served(tmp_path / "host")
    target = await server.start()
    assert target.client_key is not None
    key = asyncssh.import_private_key(target.client_key)
    locked = key.export_private_key("openssh", passphrase="a phrase", rounds=1, ignore_few_rounds=True)
    (ssh / "id_ed25519").write_bytes(locked)
    hosts = tuple(
        HostOptions(name=name, ssh=f"operator@127.0.0.1:{target.port}", address=f"127.0.0.{n}")
        for n, name in enumerate(("h1", "h2"), 1)
    )
    asker = ScreenAsker()
    app = asker.app = ConsoleApp(
        lambda emit: operator_for(Profile(name="t", model="/m", hosts=hosts), emit, asker)
    )
    async with app.run_test() as pilot:
        await until(lambda: isinstance(app.screen, TrustKey))
        await pilot.press("y")
        await until(lambda: isinstance(app.screen, TypeSecret))
        await pilot.press(*"wrong", "enter")
        await until(lambda: isinstance(app.screen, TypeSecret) and app.screen._wanted.again)
        await pilot.press(*"a phrase", "enter")
        await until(lambda: all(host.status == "done" and not host.failure for host in app.state.hosts), 10)
        await until(lambda: len(app.screen_stack) == 1)
        await asyncio.sleep(0)
    await server.close()
    assert "127.0.0.1" in (ssh / "known_hosts").read_text()
    assert "phrase" not in (tmp_path / ".local/state/mlxring/audit.log").read_text()
