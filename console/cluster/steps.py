"""Steps of the way up as events: what each host is at, and where it stopped."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from console.ports import Emit
from ringcore.spec.errors import MlxringError
from ringcore.spec.events import Event, HostStep, HostStepName, Recorded


def emit_for(emit: Emit, host: str, event: Event) -> None:
    """An event of the console's own about ``host``."""
    emit(Recorded(host=host, seq=0, time=time.time(), event=event))


@asynccontextmanager
async def host_step(
    emit: Emit, host: str, step: HostStepName, command: str = ""
) -> AsyncGenerator[None, None]:
    """Emits active, then done or failed; a `MlxringError` gets the host's name on its way out."""
    emit_for(emit, host, HostStep(step=step, status="active", command=command))
    try:
        yield
    except MlxringError as error:
        failure = error.failure
        if not failure.host:
            error = MlxringError.at(failure, host)
        emit_for(emit, host, HostStep(step=step, status="failed", failure=error.failure))
        raise error from None
    emit_for(emit, host, HostStep(step=step, status="done", progress=1.0))
