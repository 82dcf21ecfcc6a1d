"""What benchmarks of whole rings share: progress for a person, models made once, an end that is an end."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.children import Child, ChildFailed
from ringcore.spec.errors import INTERRUPTED, MlxringError

_T = TypeVar("_T")
_MAKE_SECONDS = 900.0


def progress(text: str) -> None:
    sys.stderr.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stderr.flush()


async def make_model(name: str, folder: Path, cores: Sequence[int]) -> None:
    """The folder of a model of `benchmarks.models`, ``folder/models/NAME``. Raises `ChildFailed`."""
    child = await Child.start(
        f"making {name}",
        "benchmarks.models",
        [str(folder / "models"), name],
        log=folder / "models.log",
        cores=cores,
        environment=os.environ,
    )
    try:
        await child.success(_MAKE_SECONDS)
    finally:
        await child.end(1.0)


async def to_its_end(ending: "asyncio.Future[list[Any]]") -> None:
    """Wait for it although this is cancelled once more: what was started must end."""
    while not ending.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(ending)


def run(program: str, act: Callable[[], Coroutine[None, None, _T]]) -> _T | int:
    """What ``act`` returns, or the exit code of ``program`` once a person has read what went wrong."""

    async def until_asked_to_end() -> _T:
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        return await act()

    try:
        return asyncio.run(until_asked_to_end())
    except (ChildFailed, MlxringError, TimeoutError, ValueError) as error:
        sys.stderr.write(f"{program}: {error or type(error).__name__}\n")
        return 1
    except asyncio.CancelledError:
        sys.stderr.write(f"{program}: interrupted\n")
        return INTERRUPTED
