"""Hosts that are this machine: homes of their own, one server each, nothing left when they close."""

import asyncio
import gc
import os
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import asyncssh
import psutil
import pytest

from console.cluster.ssh import connect
from console.demo.cache import user_cache
from console.demo.hosts import EmbeddedHosts, environment, hosts_root
from ringcore.spec.errors import HostError
from tests.cluster.reach import gone, options, until


async def test_each_host_has_a_server_and_a_home_of_its_own(tmp_path: Path) -> None:
    hosts = EmbeddedHosts(tmp_path / "hosts")
    try:
        one, other, again = await asyncio.gather(
            *(hosts.target(options(name=name)) for name in ("one", "other", "one"))
        )
        assert one == again and one.port != other.port
        for name, target in (("one", one), ("other", other)):
            host = await connect(options(name=name), target)
            result = await host.run(["/bin/sh", "-c", 'pwd; echo "$HOME"; command -v python'])
            home = str(tmp_path / "hosts" / name)
            assert result.stdout.split() == [home, home, str(Path(sys.executable).parent / "python")]
            await host.close()
        with pytest.raises(HostError, match="unknown"):  # the key of one does not open the other
            await connect(options(), replace(one, port=other.port))
    finally:
        await hosts.close()
    with pytest.raises(HostError, match="refused"):
        await connect(options(), one)


async def test_closing_ends_what_runs_there(tmp_path: Path) -> None:
    hosts = EmbeddedHosts(tmp_path)
    host = await connect(options(), await hosts.target(options()))
    async with host.stream(["/bin/sh", "-c", "echo $$; sleep 60"], timeout=0) as there:
        pid = int(await anext(there.lines()))
        await hosts.close()
        await until(lambda: gone(pid))
    await host.close()


async def test_a_client_that_goes_in_the_middle_of_an_answer_leaves_nothing_open(tmp_path: Path) -> None:
    hosts = EmbeddedHosts(tmp_path)
    host = await connect(options(), await hosts.target(options()))
    with warnings.catch_warnings(record=True) as left_open:
        warnings.simplefilter("always")
        async with host.stream(["/bin/sh", "-c", "echo $$; exec cat /dev/zero"], timeout=0) as there:
            pid = int(await anext(there.lines()))
            written = -1
            while written < 1 << 20 or written != psutil.Process(pid).io_counters().write_chars:
                written = psutil.Process(pid).io_counters().write_chars
                await asyncio.sleep(0.1)  # until every buffer on the way is full
            host._connection.abort()
        await hosts.close()
        assert gone(pid)
        gc.collect()
    assert [str(warning.message) for warning in left_open] == []
    await host.close()


async def test_a_server_lets_nobody_through_to_other_machines(tmp_path: Path) -> None:
    hosts = EmbeddedHosts(tmp_path)
    host = await connect(options(), await hosts.target(options()))
    try:
        connection = host._connection
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("192.0.2.1", 80)
        with pytest.raises(asyncssh.Error):
            async with connection.create_process(term_type="xterm") as process:
                await process.wait(check=True)
    finally:
        await host.close()
        await hosts.close()


def test_secrets_of_the_operators_shell_are_not_passed_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("PIP_INDEX_URL", "http://mirror")
    monkeypatch.setenv("https_proxy", "http://proxy")
    passed = environment(tmp_path)
    assert "HF_TOKEN" not in passed
    assert (passed["PIP_INDEX_URL"], passed["https_proxy"]) == ("http://mirror", "http://proxy")
    assert passed["HOME"] == str(tmp_path)
    assert passed["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_everything_of_the_demo_lies_in_one_cache_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert user_cache() == tmp_path
    assert hosts_root("demo") == tmp_path / "mlxring" / "hosts" / "demo"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "darwin")
    assert user_cache() == tmp_path / "Library" / "Caches"
    monkeypatch.setattr(sys, "platform", "linux")
    assert user_cache() == tmp_path / ".cache"
