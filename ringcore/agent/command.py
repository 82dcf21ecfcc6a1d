"""``python -m ringcore agent --run DIR``: starts the agent of a run apart from whoever starts it.

The first process starts a second one in a session of its own, waits until that one says that it runs, or
why it does not, prints the answer as one JSON line (``{"ok": true, "pid": N}`` or ``{"ok": false,
"failure": Failure}``) and ends. The second one lives with its ring; what it prints goes to agent.log.

With ``--stay`` there is no second process: a service manager keeps this one. Its status says then how the
ring ended: 0 when that was wanted.
"""

import argparse
import asyncio
import os
import select
import subprocess
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

import msgspec

from ringcore.agent.rundir import RunDir
from ringcore.spec.errors import Failure, MlxringError, RingError

START_SECONDS = 15.0
_LOG_BYTES = 4 << 20


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="ringcore agent")
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    parser.add_argument("--report-fd", type=int, help="run here, and report to this descriptor")
    parser.add_argument("--stay", action="store_true", help="run here, and end as the ring does")
    options = parser.parse_args(arguments)
    run = RunDir(options.run)
    if options.stay:
        return _live(run, None)
    if options.report_fd is not None:
        return _live(run, options.report_fd)
    try:
        deployment = run.deployment()
        answer = _start(run, deployment.me.host)
    except MlxringError as error:
        answer = _answer(error.failure)
    sys.stdout.write(answer + "\n")
    return 0 if msgspec.json.decode(answer)["ok"] else RingError.exit_code


def _start(run: RunDir, host: str) -> str:
    """Start the second process; its answer. Raises `RingError` when there is none."""
    reading, writing = os.pipe()
    try:
        with _log(run) as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "ringcore",
                    "agent",
                    "--run",
                    str(run.path),
                    "--report-fd",
                    str(writing),
                ],
                cwd=run.path,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        os.close(writing)
        ready, _, _ = select.select([reading], [], [], START_SECONDS)
        answer = os.read(reading, 1 << 16).decode().strip() if ready else ""
    finally:
        os.close(reading)
    if answer:
        return answer
    process.kill()
    why = f"ended with status {process.wait()}" if ready else f"did not answer within {START_SECONDS:.0f} s"
    raise RingError(f"the agent {why}", f"read {run.log} on this host", host=host)


def _live(run: RunDir, report: int | None) -> int:
    os.chdir(run.path)
    os.umask(0o077)
    if report is not None:
        os.set_inheritable(report, False)
    reported = False

    def tell(answer: str) -> None:
        nonlocal reported
        if not reported:
            reported = True
            if report is None:
                sys.stdout.write(answer + "\n")
                sys.stdout.flush()
                return
            os.write(report, answer.encode() + b"\n")
            os.close(report)

    from ringcore.agent.life import live

    try:
        started = msgspec.json.encode({"ok": True, "pid": os.getpid()}).decode()
        failure = asyncio.run(live(run, lambda: tell(started)))
    except MlxringError as error:
        tell(_answer(error.failure))
        return error.exit_code
    except Exception as error:  # noqa: BLE001 - the edge of the process: who started it must hear of it
        traceback.print_exc()
        tell(_answer(RingError(f"{type(error).__name__}: {error}", f"read {run.log} on this host").failure))
        return RingError.exit_code
    return failure.exit_code if failure is not None else 0


def _answer(failure: Failure) -> str:
    return msgspec.json.encode({"ok": False, "failure": failure}).decode()


def _log(run: RunDir) -> BinaryIO:
    """agent.log for appending; begun anew when it has grown."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    if run.log.exists() and run.log.stat().st_size > _LOG_BYTES:
        flags |= os.O_TRUNC
    return os.fdopen(os.open(run.log, flags, 0o600), "ab")
