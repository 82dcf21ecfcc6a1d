"""One operator at a time changes a ring; the second is told who the first is, and nothing stays behind."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from console.cluster.hold import deployed_by, hold, operator_name, when
from console.cluster.ssh import SshHost, connect
from ringcore.spec.errors import HostError, RingError
from tests.cluster.reach import gone, options, plain_environment, served, until


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def two(home: Path) -> AsyncIterator[tuple[SshHost, SshHost]]:
    """Two operators' connections to one account."""
    server = served(home, plain_environment(home))
    target = await server.start()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(server.close)
        hosts = []
        for _ in range(2):
            host = await connect(options(), target)
            stack.push_async_callback(host.close)
            hosts.append(host)
        yield hosts[0], hosts[1]


def holds(home: Path, ring: str = "*") -> list[str]:
    return sorted(path.name for path in home.glob(f".mlxring-hold-{ring}"))


def holding_process(home: Path) -> int:
    return int((home / ".mlxring-hold-minis").read_text().split()[1])


async def test_the_second_operator_is_told_who_the_first_is_and_may_watch(
    two: tuple[SshHost, SshHost], home: Path
) -> None:
    first, second = two
    async with hold([first], "minis", who="alice@desk"):
        with pytest.raises(RingError) as caught:
            async with hold([second], "minis"):
                pytest.fail("two operators at once")
        failure = caught.value.failure
        assert "alice@desk, since" in failure.cause and failure.host == "h1"
        assert "mlxring logs --follow" in failure.remedy
        async with hold([second], "other"):
            assert holds(home) == [".mlxring-hold-minis", ".mlxring-hold-other"]
    assert holds(home) == []
    async with hold([second], "minis"):
        pass
    assert holds(home) == []


async def test_of_many_that_come_at_once_one_goes_first(two: tuple[SshHost, SshHost], home: Path) -> None:
    inside = 0
    most = 0
    refused = 0

    async def one(host: SshHost) -> None:
        nonlocal inside, most, refused
        try:
            async with hold([host], "minis"):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.05)
                inside -= 1
        except RingError:
            refused += 1

    await asyncio.gather(*(one(two[number % 2]) for number in range(8)))
    assert most == 1 and refused
    assert holds(home) == []


async def test_a_machine_that_the_profile_names_twice_is_held_once(
    two: tuple[SshHost, SshHost], home: Path
) -> None:
    async with hold(list(two), "minis"):
        assert holds(home) == [".mlxring-hold-minis"]
    assert holds(home) == []


async def test_a_connection_that_ends_takes_its_hold_along(two: tuple[SshHost, SshHost], home: Path) -> None:
    first, second = two
    with pytest.raises(HostError):
        async with hold([first], "minis"):
            process = holding_process(home)
            first._connection.abort()
            await first.run(["/bin/true"])
    await until(lambda: gone(process))
    async with hold([second], "minis"):
        pass


async def test_a_hold_that_nobody_touches_any_more_does_not_count(
    two: tuple[SshHost, SshHost], home: Path
) -> None:
    lock = home / ".mlxring-hold-minis"
    lock.write_text("0123456789abcdef 1 elsewhere 1760000000 alice@desk\n")
    long_ago = time.time() - 130
    os.utime(lock, (long_ago, long_ago))
    async with hold([two[0]], "minis"):
        assert "alice" not in lock.read_text()
    assert holds(home) == []


async def test_a_hold_whose_process_is_gone_does_not_count(two: tuple[SshHost, SshHost], home: Path) -> None:
    async with hold([two[0]], "minis"):
        holder = holding_process(home)
        os.kill(holder, signal.SIGKILL)
        await until(lambda: gone(holder))
        async with hold([two[1]], "minis"):
            pass


async def test_a_fresh_hold_of_another_machine_with_the_same_home_counts(
    two: tuple[SshHost, SshHost], home: Path
) -> None:
    (home / ".mlxring-hold-minis").write_text(
        f"0123456789abcdef 1 elsewhere {int(time.time()) - 3} alice@desk\x1b[2J\n"
    )
    with pytest.raises(RingError, match="alice@desk") as caught:
        async with hold([two[0]], "minis"):
            pass
    assert "\x1b" not in str(caught.value)


async def test_whoever_takes_over_breaks_off_what_was_being_done(
    two: tuple[SshHost, SshHost], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("console.cluster.hold.BEAT_SECONDS", 0.05)
    first, second = two
    inside, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        async with hold([first], "minis"):
            inside.set()
            await done.wait()

    working = asyncio.create_task(work())
    await inside.wait()
    async with hold([second], "minis", take=True):
        with pytest.raises(RingError, match="another operator has taken over"):
            async with asyncio.timeout(5):
                await working
        assert holds(home) == [".mlxring-hold-minis"]  # the second's
    assert holds(home) == []


async def test_a_verb_that_is_broken_off_lets_go(two: tuple[SshHost, SshHost], home: Path) -> None:
    inside = asyncio.Event()

    async def work() -> None:
        async with hold([two[0]], "minis"):
            inside.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work())
    await inside.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    await until(lambda: not holds(home))


async def test_it_is_seen_whether_the_ring_runs_and_who_deployed_it(
    two: tuple[SshHost, SshHost], home: Path
) -> None:
    host = two[0]
    run = home / ".mlxring" / "runs" / "minis"
    run.mkdir(parents=True)
    async with hold([host], "minis") as held:
        assert held.running == set()
    assert await deployed_by(host, "minis") is None
    (run / "agent.pid").write_text(f"{os.getpid()} 1760000000.5 agent\n")
    (run / "deployment.json").write_text('{"ring": "minis", "operator": "bob@desk", "made_at": 1760000000.0}')
    async with hold([host], "minis") as held:
        assert held.running == {"h1"}
    holder = await deployed_by(host, "minis")
    assert holder is not None and holder.who == "bob@desk" and holder.since == 1760000000.0


async def test_a_home_folder_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    home, file = tmp_path / "home", tmp_path / "file"
    file.touch()
    server = served(home, plain_environment(home) | {"HOME": str(file / "home")})
    host = await connect(options(), await server.start())
    async with hold([host], "hold-test-ring"):
        assert holds(Path("/tmp"), "*-hold-test-ring")
    assert not holds(Path("/tmp"), "*-hold-test-ring")
    await host.close()
    await server.close()


def test_a_moment_is_told_as_people_do() -> None:
    now = time.time()
    assert when(now - 5, now).endswith("(5 s)")
    assert when(now - 600, now).endswith("(10 min)")
    assert when(now - 3 * 86400, now).endswith("(72 h)")
    assert when(1e300, now) == "a moment that no clock shows"  # as a host may say
    assert "@" in operator_name()
