"""``python -m ringcore reap --run DIR``: ends whatever is left of a run on this host, answering or not.

SIGTERM to the agent, which ends the ring in order; SIGKILL to what remains. Processes are known by pid
and start time, so a later process with the same pid is never touched.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ringcore.agent.rundir import ProcessId, RunDir

ORDERLY_SECONDS = 6.0
KILL_SECONDS = 3.0
_POLL_SECONDS = 0.05


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="ringcore reap")
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    parser.add_argument("--now", action="store_true", help="SIGKILL at once")
    options = parser.parse_args(arguments)
    left = reap(RunDir(options.run), orderly=not options.now)
    if left:
        names = ", ".join(f"{process.role} (pid {process.pid})" for process in left)
        sys.stderr.write(f"still there after SIGKILL: {names}\n")
        return 1
    return 0


def reap(run: RunDir, *, orderly: bool) -> list[ProcessId]:
    """What could not be ended: nothing, unless the kernel holds on to a process."""
    processes = run.processes()
    if orderly:
        _signal([process for process in processes if process.role == "agent"], signal.SIGTERM)
        _gone(processes, ORDERLY_SECONDS)
    # The agent may have started one more since the list was read.
    processes = list(dict.fromkeys([*processes, *run.processes()]))
    _signal(processes, signal.SIGKILL)
    left = _gone(processes, KILL_SECONDS)
    if not left:
        run.remove_traces()
    return left


def _signal(processes: Sequence[ProcessId], number: signal.Signals) -> None:
    for process in processes:
        if process.alive:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def _gone(processes: Sequence[ProcessId], seconds: float) -> list[ProcessId]:
    """Those that are still alive after ``seconds`` at most."""
    deadline = time.monotonic() + seconds
    while True:
        left = [process for process in processes if process.alive]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(_POLL_SECONDS)
