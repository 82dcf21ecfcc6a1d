"""Commands, streams, files and ports over a real SSH connection."""

import asyncio
import hashlib
import os
import shutil
import signal
import stat
import sys
import time
from pathlib import Path

import asyncssh
import pytest

from console.cluster.ssh import SshHost
from ringcore.spec.errors import HostError
from tests.cluster.reach import gone, plain_environment, reached, until
from tests.cluster.test_quoting import HOSTILE, PRINT_ARGUMENTS


async def test_a_command_gives_back_its_output_its_errors_and_its_status(host: SshHost) -> None:
    result = await host.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (result.status, result.stdout, result.stderr) == (3, "out\n", "err\n")


async def test_hostile_arguments_arrive_as_they_are(host: SshHost, tmp_path: Path) -> None:
    result = await host.run([sys.executable, "-c", PRINT_ARGUMENTS, *HOSTILE], env={"A B": "'$x'"})
    assert result.stdout == ascii(HOSTILE)
    assert not list((tmp_path / "home").iterdir())


async def test_the_environment_is_the_logins_and_what_is_given(host: SshHost, tmp_path: Path) -> None:
    result = await host.run(["/bin/sh", "-c", 'echo "$HOME|$EXTRA"'], env={"EXTRA": "a b;c"})
    assert result.stdout == f"{tmp_path / 'home'}|a b;c\n"


async def test_standard_input_arrives_whole_and_large_output_comes_back_whole(host: SshHost) -> None:
    data = os.urandom(3 << 20).hex().encode()
    result = await host.run(["/bin/cat"], stdin=data)
    assert hashlib.sha256(result.stdout.encode()).digest() == hashlib.sha256(data).digest()


async def test_a_command_that_never_reads_its_input_ends_all_the_same(host: SshHost) -> None:
    result = await host.run(["/bin/sh", "-c", "exec 0<&-; echo done"], stdin=b"x" * (4 << 20))
    assert (result.status, result.stdout) == (0, "done\n")


async def test_a_signal_is_a_status_of_minus_one(host: SshHost) -> None:
    assert (await host.run(["/bin/sh", "-c", "kill -9 $$"])).status == -1


async def test_a_program_that_is_not_there_is_the_commands_own_failure(host: SshHost) -> None:
    result = await host.run(["/no/such/program"])
    assert result.status == 127
    assert "/no/such/program" in result.stderr


async def test_a_command_over_its_time_is_ended_with_all_its_children(host: SshHost, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 60 & echo $! > {pids}; echo $$ >> {pids}; sleep 60"
    began = time.monotonic()
    with pytest.raises(HostError, match=r"h1: /bin/sh was not done after 1 s"):
        await host.run(["/bin/sh", "-c", script], timeout=1)
    assert time.monotonic() - began < 4
    children = [int(pid) for pid in pids.read_text().split()]
    await until(lambda: all(map(gone, children)))
    assert (await host.run(["/bin/echo", "next"])).stdout == "next\n"


async def test_an_abandoned_command_is_ended_with_all_its_children(host: SshHost, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    running = asyncio.create_task(
        host.run(["/bin/sh", "-c", f"sleep 60 & echo $! $$ > {pids}.new; mv {pids}.new {pids}; wait"])
    )
    await until(pids.exists)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    children = [int(pid) for pid in pids.read_text().split()]
    await until(lambda: all(map(gone, children)))


async def test_lines_come_as_they_are_written_and_the_last_needs_no_newline(host: SshHost) -> None:
    async with host.stream(
        ["/bin/sh", "-c", "echo one; read x; echo got $x; printf end"], timeout=10
    ) as there:
        lines = there.lines()
        assert await anext(lines) == b"one"
        await there.send(b"two\n")
        assert [line async for line in lines] == [b"got two", b"end"]


async def test_a_long_line_in_many_pieces_is_one_line(host: SshHost) -> None:
    script = "import sys; sys.stdout.write('x' * 900_000 + chr(10) + 'y')"
    async with host.stream([sys.executable, "-c", script], timeout=20) as there:
        assert [len(line) async for line in there.lines()] == [900_000, 1]


async def test_leaving_a_stream_ends_what_still_runs_there(host: SshHost) -> None:
    async with host.stream(["/bin/sh", "-c", "echo $$; sleep 60 & echo $!; wait"], timeout=0) as there:
        lines = there.lines()
        children = [int(await anext(lines)), int(await anext(lines))]
    await until(lambda: all(map(gone, children)))


async def test_closing_gives_the_command_its_end_of_input_and_time_to_finish(
    host: SshHost, tmp_path: Path
) -> None:
    async with host.stream(["/bin/sh", "-c", "echo up; cat; echo finished > word"], timeout=10) as there:
        assert await anext(there.lines()) == b"up"
        await there.close()
    assert (tmp_path / "home" / "word").read_text() == "finished\n"


async def test_a_stream_over_its_time_says_so(host: SshHost) -> None:
    with pytest.raises(HostError, match="was not done after 1 s"):
        async with host.stream(["/bin/sleep", "60"], timeout=1) as there:
            async for _ in there.lines():
                pass


async def test_a_time_out_of_the_callers_own_is_not_taken_for_the_hosts(host: SshHost) -> None:
    with pytest.raises(TimeoutError):
        async with host.stream(["/bin/sleep", "60"], timeout=30) as there, asyncio.timeout(0.2):
            async for _ in there.lines():
                pass


async def test_many_commands_share_one_connection(host: SshHost) -> None:
    results = await asyncio.gather(*(host.run(["/bin/echo", str(n)]) for n in range(8)))
    assert [result.stdout for result in results] == [f"{n}\n" for n in range(8)]


@pytest.mark.parametrize("refusals", [3, 100])
async def test_a_server_that_takes_few_sessions_gets_a_moment(
    host: SshHost, monkeypatch: pytest.MonkeyPatch, refusals: int
) -> None:
    left = refusals
    opened = host._connection.create_process

    async def refusing(*arguments: object, **more: object) -> object:
        nonlocal left
        left -= 1
        if left >= 0:
            raise asyncssh.ChannelOpenError(2, "open failed")
        return await opened(*arguments, **more)

    monkeypatch.setattr(host._connection, "create_process", refusing)
    if refusals < 5:
        assert (await host.run(["/bin/echo", "x"])).stdout == "x\n"
    else:
        with pytest.raises(HostError, match="starts no more commands") as caught:
            await host.run(["/bin/echo", "x"])
        assert "MaxSessions" in caught.value.failure.remedy


@pytest.mark.parametrize("shell", [shell for shell in ("bash", "zsh", "fish") if shutil.which(shell)])
async def test_what_a_login_shell_prints_first_is_not_output(tmp_path: Path, shell: str) -> None:
    home = tmp_path / "home"
    (home / ".config" / "fish").mkdir(parents=True)
    for file in ("rc", ".zshenv", ".config/fish/config.fish"):
        (home / file).write_text("echo Welcome\nprintf 'no newline'\n")
    noisy = plain_environment(home) | {"SHELL": str(shutil.which(shell)), "BASH_ENV": str(home / "rc")}
    async with reached(home, env=noisy) as host:
        assert (await host.run(["/bin/echo", *HOSTILE])).stdout == " ".join(HOSTILE) + "\n"
        async with host.stream(["/bin/cat"], timeout=10) as there:
            await there.send(b"line\n")
            assert await anext(there.lines()) == b"line"


async def test_a_login_shell_that_ends_in_its_start_up_files_is_named_with_its_words(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "rc").write_text("echo this account is closed; exit 1\n")
    closed = plain_environment(home) | {"SHELL": "/bin/bash", "BASH_ENV": str(home / "rc")}
    async with reached(home, env=closed) as host:
        with pytest.raises(HostError, match=r"login shell ended .* this account is closed"):
            await host.run(["/bin/echo", "own"])


async def test_a_file_is_written_whole_with_its_mode_in_new_private_folders(
    host: SshHost, tmp_path: Path
) -> None:
    path = tmp_path / "home" / "a b" / "it's" / "secret"
    data = bytes(range(256)) * 5000
    await host.write(str(path), data, mode=0o600)
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await host.write(str(path), b"", mode=0o640)
    assert path.read_bytes() == b""
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [entry.name for entry in path.parent.iterdir()] == ["secret"]


async def test_a_reader_never_sees_half_a_file(host: SshHost, tmp_path: Path) -> None:
    path = tmp_path / "home" / "file"
    old, new = b"o" * 500_000, b"n" * 700_000
    await host.write(str(path), old)
    writing = asyncio.create_task(host.write(str(path), new))
    seen = set()
    while not writing.done():
        seen.add(path.read_bytes())
        await asyncio.sleep(0)
    await writing
    assert seen <= {old, new}
    assert path.read_bytes() == new


async def test_an_upload_that_is_cut_off_leaves_the_old_file(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with reached(home) as host:
        path = home / "file"
        await host.write(str(path), b"old")
        writing = asyncio.create_task(host.write(str(path), b"n" * (64 << 20)))
        await until(lambda: list(home.glob("file.*.new")))
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert path.read_bytes() == b"old"


async def test_a_place_that_cannot_be_written_is_named(host: SshHost, tmp_path: Path) -> None:
    (tmp_path / "home" / "file").write_text("")
    with pytest.raises(HostError, match=r"writing .*/file/below failed: .+") as caught:
        await host.write(str(tmp_path / "home" / "file" / "below"), b"x")
    assert caught.value.failure.host == "h1" and caught.value.failure.remedy


async def test_a_forwarded_port_leads_to_the_hosts_loopback_and_is_made_once(host: SshHost) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello " + await reader.readline())
        writer.close()
        await writer.wait_closed()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        here, again = await asyncio.gather(host.forward(port), host.forward(port))
        assert here == again != port
        reader, writer = await asyncio.open_connection("127.0.0.1", here)
        writer.write(b"world\n")
        assert await reader.read() == b"hello world\n"
        writer.close()
        await writer.wait_closed()


async def test_what_has_detached_itself_outlives_the_command_and_the_connection(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    start = (
        "import os, subprocess, sys; p = subprocess.Popen(['/bin/sleep', '60'], start_new_session=True,"
        f"stdin=-3, stdout=-3, stderr=-3); open({str(pid_file)!r}, 'w').write(str(p.pid)); os._exit(0)"
    )
    async with reached(tmp_path / "home") as host:
        assert (await host.run([sys.executable, "-c", start])).status == 0
    pid = int(pid_file.read_text())
    try:
        assert not gone(pid)
    finally:
        os.kill(pid, signal.SIGKILL)
