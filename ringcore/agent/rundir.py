"""The run folder on disk: what is deployed there, which processes belong to it, who may write to it.

One agent at most holds the folder's lock, for as long as it lives; the kernel gives the lock back
however the agent ends. Knows nothing of what the files say beyond the deployment and the pids.
"""

import fcntl
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from ringcore.spec.deployment import (
    AGENT_LOG,
    AGENT_SOCKET,
    DEPLOYMENT_FILE,
    ENGINE_SOCKET,
    PID_FILE,
    SECRET_FILE,
    Deployment,
)
from ringcore.spec.errors import NotRunning, RingError
from ringcore.whole_file import replace_file

LOCK_FILE = "agent.lock"
_START_TOLERANCE_SECONDS = 2.0  # a start time is derived from the boot time, which clock steps move


class ProcessId(Struct, frozen=True):
    """A process that cannot be mistaken for a later one with the same pid. ``started``: Unix seconds."""

    pid: int
    started: float
    role: str  # "agent" | "rank" | "gateway"

    @staticmethod
    def of(pid: int, role: str) -> "ProcessId | None":
        """None when there is no such process (any more)."""
        import psutil  # here: attach has no need of it on its quick way

        try:
            return ProcessId(pid, psutil.Process(pid).create_time(), role)
        except psutil.Error:
            return None

    @property
    def alive(self) -> bool:
        """The very same process runs still (a zombie does not run)."""
        import psutil

        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _START_TOLERANCE_SECONDS
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False


class RunDir:
    """``path`` is made absolute; nothing is touched before a method is called."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def log(self) -> Path:
        return self / AGENT_LOG

    # what is deployed ------------------------------------------------------------------------------
    def deployment(self) -> Deployment:
        """Raises `NotRunning` when there is none, `RingError` when it cannot be understood."""
        file = self / DEPLOYMENT_FILE
        try:
            return msgspec.json.decode(file.read_bytes(), type=Deployment)
        except FileNotFoundError:
            raise NotRunning(f"nothing is deployed in {self.path}", "deploy the ring first") from None
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise RingError(f"{file} cannot be read: {error}", "deploy again from this console") from None

    def secret(self) -> bytes:
        """Raises `RingError` when it is missing, empty or readable by others."""
        file = self / SECRET_FILE
        try:
            mode = file.stat().st_mode
            value = file.read_bytes().strip()
        except OSError as error:
            raise RingError(f"{file} cannot be read: {error}", "deploy again") from None
        if stat.S_IMODE(mode) & 0o077:
            raise RingError(f"{file} is readable by others", f"chmod 600 {file}, or deploy again")
        if len(value) < 16:
            raise RingError(f"{file} holds no secret of at least 16 bytes", "deploy again")
        return value

    # who runs --------------------------------------------------------------------------------------
    def lock(self) -> int | None:
        """A descriptor that holds the folder until it is closed; None when an agent holds it."""
        descriptor = os.open(self / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    def write_processes(self, processes: Iterable[ProcessId]) -> None:
        """One a line: pid, start time, role. The agent first."""
        text = "".join(f"{p.pid} {p.started!r} {p.role}\n" for p in processes)
        replace_file(self / PID_FILE, text.encode())

    def processes(self) -> list[ProcessId]:
        """As last written; empty when there is no file. Lines that make no sense are passed over."""
        try:
            lines = (self / PID_FILE).read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        found: list[ProcessId] = []
        for text in lines:
            words = text.split()
            try:
                found.append(ProcessId(int(words[0]), float(words[1]), words[2]))
            except (ValueError, IndexError):
                continue
        return found

    def remove_traces(self) -> None:
        """Sockets and pid file away; journal and logs stay."""
        for name in (AGENT_SOCKET, ENGINE_SOCKET, PID_FILE):
            (self / name).unlink(missing_ok=True)
