"""Work that may hang (a disk that does not answer) beside an event loop, in a thread that nobody waits for
when the process ends: unlike those of the loop's own executor, which are joined then.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

_T = TypeVar("_T")


def in_thread(work: Callable[..., _T], *arguments: Any) -> "asyncio.Future[_T]":
    """What ``work`` returns or raises. Cancelling the future leaves the thread at work."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: Exception | None) -> None:
        if future.cancelled():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: _T | None = None
        failed: Exception | None = None
        try:
            result = work(*arguments)
        except Exception as error:  # noqa: BLE001 - whoever waits hears of it
            failed = error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failed)

    threading.Thread(target=run, name=f"{getattr(work, '__name__', 'work')} beside", daemon=True).start()
    return future
