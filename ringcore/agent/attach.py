"""``python -m ringcore attach --run DIR``: joins standard input and output to the run's agent.

Where no agent runs, it answers from the journal that is left: a `Welcome` that says so, every event
after the one asked for, and the end. Imports nothing heavy: it is started for every console.
"""

import argparse
import os
import select
import socket
import sys
from pathlib import Path

from ringcore.agent.rundir import RunDir
from ringcore.spec.deployment import AGENT_SOCKET
from ringcore.spec.errors import MlxringError

_FIRST_LINE_SECONDS = 10.0
_CHUNK = 1 << 16
_IN, _OUT = 0, 1


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="ringcore attach")
    parser.add_argument("--run", type=Path, required=True, help="the run directory")
    run = RunDir(parser.parse_args(arguments).run)
    os.chdir(run.path)
    agent = socket.socket(socket.AF_UNIX)
    try:
        agent.connect(AGENT_SOCKET)
    except OSError:
        agent.close()
        return _answer_from_journal(run)
    with agent:
        _join(agent)
    return 0


def _join(agent: socket.socket) -> None:
    """Until the agent has said its last, or nobody reads any more."""
    sources = [agent, _IN]
    while agent in sources:
        ready, _, _ = select.select(sources, [], [])
        if _IN in ready:
            data = os.read(_IN, _CHUNK)
            if not data:  # the console is gone
                return
            try:
                agent.sendall(data)
            except OSError:
                sources.remove(_IN)
        if agent in ready:
            try:
                data = agent.recv(_CHUNK)
            except OSError:
                return
            if not data or not _write(data):
                return


def _answer_from_journal(run: RunDir) -> int:
    from ringcore.agent.replay import Reader, last_seq
    from ringcore.agent.welcome import first_message, welcome
    from ringcore.spec.control import line

    try:
        deployment = run.deployment()
    except MlxringError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    try:
        asked = first_message(_first_line())
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    last = last_seq(run.path, deployment.run_id)
    _write(line(welcome(deployment, running=False, last_seq=last)))
    if not last:  # deployed, and never started
        return 0
    reader = Reader(run.path, asked.after if asked.run_id == deployment.run_id else 0)
    while data := reader.read():
        if not _write(data):
            break
    reader.close()
    return 0


def _first_line() -> bytes:
    text = b""
    while not text.endswith(b"\n"):
        ready, _, _ = select.select([_IN], [], [], _FIRST_LINE_SECONDS)
        data = os.read(_IN, 1) if ready else b""
        if not data:
            raise ValueError("no attach message came")
        text += data
    return text


def _write(data: bytes) -> bool:
    """False when nobody reads any more."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(_OUT, view) :]
    except BrokenPipeError:
        return False
    return True
