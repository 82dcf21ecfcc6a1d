"""Steps of the way up as events: what each host is at, and where it stopped."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager

from console.ports import Emit
from ringcore.spec.errors import MlxringError
from ringcore.spec.events import Event, HostStep, HostStepName, Recorded


def emit_for(emit: Emit, host: str, event: Event) -> None:
    """An event of the console's own about ``host``."""
    emit(Recorded(host=host, seq=0, time=time.time(), event=event))


@asynccontextmanager
async def host_step(
    emit: Emit, host: str, step: HostStepName, command: str = "", *, begins: bool = True, ends: bool = True
) -> AsyncGenerator[None, None]:
    """Emits active, then done or failed; a `MlxringError` gets the host's name on its way out.

    A step may be done in parts: ``begins`` and ``ends`` say whether this is the first and the last one.
    """
    if begins:
        emit_for(emit, host, HostStep(step=step, status="active", command=command))
    try:
        yield
    except MlxringError as error:
        failure = error.failure
        if not failure.host:
            error = MlxringError.at(failure, host)
        emit_for(emit, host, HostStep(step=step, status="failed", failure=error.failure))
        raise error from None
    if ends:
        emit_for(emit, host, HostStep(step=step, status="done", progress=1.0))


async def together(acts: Iterable[Awaitable[object]]) -> list[MlxringError]:
    """Run all to their end; the `MlxringError` of those that failed, in order. Other errors are raised."""
    results = await asyncio.gather(*acts, return_exceptions=True)
    problems: list[MlxringError] = []
    for result in results:
        if isinstance(result, MlxringError):
            problems.append(result)
        elif isinstance(result, BaseException):
            raise result
    return problems


def raise_first(problems: Sequence[MlxringError]) -> None:
    """The one of the lowest rank, where `together` met any."""
    if problems:
        raise problems[0]
