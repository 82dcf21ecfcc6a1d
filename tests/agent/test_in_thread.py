"""Work beside the loop: its result, its error, and an end of the process that does not wait for it."""

import asyncio
import subprocess
import sys
import threading

import pytest

from ringcore.agent.in_thread import in_thread
from tests.agent.harness import ENVIRONMENT

_HANGS = """
import asyncio, threading
from ringcore.agent.in_thread import in_thread

async def main():
    try:
        async with asyncio.timeout(0.1):
            await in_thread(threading.Event().wait)
    except TimeoutError:
        print("left")

asyncio.run(main())
"""


async def test_what_it_returns_or_raises_is_heard() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(FileNotFoundError):
        await in_thread(open, "/nowhere/at/all")


async def test_whoever_does_not_wait_any_more_leaves_it_at_work() -> None:
    go, done = threading.Event(), threading.Event()

    def work() -> None:
        go.wait()
        done.set()

    future = in_thread(work)
    future.cancel()
    go.set()
    assert await asyncio.to_thread(done.wait, 20)


def test_the_process_ends_though_the_work_hangs() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _HANGS],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (ran.stdout, ran.stderr) == ("left\n", "")
