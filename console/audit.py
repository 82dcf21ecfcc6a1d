"""The audit log: what was done to hosts, when, and how it ended. On the operator's machine, for their eyes.

One JSON object a line, in ``$XDG_STATE_HOME/mlxring/audit.log`` (``~/.local/state``), 0600, rotated. Values
of environment variables, standard input and what looks like a token are left out. A script is written whole
when this process first runs it, and by its name afterwards. Knows nothing of connections.
"""

import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from ringcore.spec.errors import MlxringError

MOST_BYTES = 4 << 20
KEPT = 3  # rotated files
_LEFT_OUT = "***"
_LONG = 200  # a program among the arguments of another
_SECRETS = (
    re.compile(r"(?<=://)[^/@\s]+(?=@)"),  # user and password of an address
    re.compile(r"\b(?:hf_|sk[-_]|ghp_|gho_|mlxring-)[A-Za-z0-9_-]{16,}"),
    re.compile(r"(?i)(?<=--token[ =])\S+|(?<=--password[ =])\S+|(?<=--api-key[ =])\S+"),
)


class Action(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line. ``time``: when it began, in seconds since the epoch, and ``at`` the same for people.

    ``exit``: the command's status; -1: a signal or we ended it; None: it runs still, or for ``script`` lines,
    which give the text of a script that later lines name.
    """

    time: float
    at: str
    ring: str
    host: str
    where: str
    command: str
    exit: int | None = None
    seconds: float = 0.0
    running: bool = False
    script: str = ""
    pid: int = 0


class Audit:
    """For one ring. Raises `MlxringError` where nothing can be written: nothing is done to hosts then."""

    def __init__(self, ring: str, path: Path | None = None) -> None:
        self.path = path or audit_file()
        self._ring = ring
        self._told: set[str] = set()
        self._trouble: OSError | None = None
        self._opened = False

    def begin(
        self, host: str, where: str, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> "Entry":
        """A command that is about to run on ``host``, at ``where``; it is in the log when the entry ends."""
        if self._trouble is not None or not self._opened:
            self._open()
        code = argv.index("-c") + 1 if "-c" in argv else len(argv)
        words = [f"{key}={_LEFT_OUT}" for key in env or ()]
        for at, word in enumerate(argv):
            is_script = "\n" in word and (at == code or len(word) > _LONG)
            words.append(self._script(host, where, word) if is_script else _word(word))
        return Entry(self, host, where, without_secrets(" ".join(words)))

    def _script(self, host: str, where: str, text: str) -> str:
        """The name of a script; the log has its text by then."""
        name = f"script-{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"
        if name not in self._told:
            self.write(Entry(self, host, where, name), script=text)
            self._told.add(name)
        return name

    def write(
        self, entry: "Entry", exit: int | None = None, *, running: bool = False, script: str = ""
    ) -> None:
        """One line. When it cannot be written, the next `begin` tries again and raises why."""
        action = Action(
            time=entry.began,
            at=time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(entry.began)),
            ring=self._ring,
            host=entry.host,
            where=entry.where,
            command=entry.command,
            exit=exit,
            seconds=0.0 if running or script else round(time.time() - entry.began, 3),
            running=running,
            script=script,
            pid=os.getpid(),
        )
        try:
            _append(self.path, msgspec.json.encode(action) + b"\n")
        except OSError as error:
            self._trouble = error
            self._told.clear()

    def _open(self) -> None:
        try:
            _append(self.path, b"")
        except OSError as error:
            raise _not_written(self.path, error) from None
        self._opened, self._trouble = True, None


class Entry:
    """One action from its beginning to its end."""

    def __init__(self, audit: Audit, host: str, where: str, command: str) -> None:
        self.host = host
        self.where = where
        self.command = command
        self.began = time.time()
        self._audit = audit
        self._ended = False

    def runs_on(self) -> None:
        """It may run for as long as the console does: it is in the log now, and again when it ends."""
        self._audit.write(self, running=True)

    def end(self, exit: int) -> None:
        if not self._ended:
            self._ended = True
            self._audit.write(self, exit)


def audit_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where this operator's log is."""
    state = environment.get("XDG_STATE_HOME", "")
    folder = Path(state) if state.startswith("/") else Path("~/.local/state").expanduser()
    return folder / "mlxring" / "audit.log"


def last_actions(host: str, count: int = 200, *, ring: str = "", path: Path | None = None) -> list[Action]:
    """The newest actions on ``host``, oldest first. Lines that make no sense are passed over."""
    found: list[Action] = []
    for line in _backwards(path or audit_file()):
        try:
            action = msgspec.json.decode(line, type=Action)
        except msgspec.MsgspecError:
            continue
        if action.host == host and not action.script and (not ring or action.ring == ring):
            found.append(action)
            if len(found) == count:
                break
    return found[::-1]


def without_secrets(text: str) -> str:
    for pattern in _SECRETS:
        text = pattern.sub(_LEFT_OUT, text)
    return text


def _word(word: str) -> str:
    return word if word and not re.search(r"[\s'\"]", word) else repr(word)


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            seen = os.fstat(handle)
            try:
                same = path.stat().st_ino == seen.st_ino
            except FileNotFoundError:
                same = False
            if not same:
                continue  # another console has rotated it
            if seen.st_size and seen.st_size + len(line) > MOST_BYTES:
                _rotate(path)
                continue
            os.fchmod(handle, 0o600)
            os.write(handle, line)
            return
        finally:
            os.close(handle)


def _rotate(path: Path) -> None:
    for number in range(KEPT, 0, -1):
        older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        if older.exists():
            older.replace(path.with_name(f"{path.name}.{number}"))


def _backwards(path: Path) -> Iterator[bytes]:
    """Lines of the log and of what was rotated, the newest first."""
    for file in (path, *(path.with_name(f"{path.name}.{number}") for number in range(1, KEPT + 1))):
        try:
            yield from reversed(file.read_bytes().splitlines())
        except OSError:
            continue


def _not_written(path: Path, error: OSError) -> MlxringError:
    return MlxringError(
        f"the audit log {path} cannot be written: {error.strerror or error}",
        "make room for it, or name another folder with XDG_STATE_HOME; nothing is done to hosts without it",
    )
