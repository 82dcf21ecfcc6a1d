"""The operator's known_hosts files: what they say of a server, and one more line in them. Needs asyncssh."""

import base64
import errno
import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import asyncssh

from ringcore.spec.errors import HostError

_HASHED = "|1|"
_TRIES = 20


class Known(NamedTuple):
    keys: Sequence[asyncssh.SSHKey]
    revoked: Sequence[asyncssh.SSHKey]


class Place(NamedTuple):
    """A server as its key is looked up: ``host`` (or HostKeyAlias), the address it was met at, the port."""

    host: str
    address: str
    port: int

    @property
    def entry(self) -> str:
        """Its name in a known_hosts file."""
        return self.host if self.port == 22 else f"[{self.host}]:{self.port}"


def sources(options: asyncssh.SSHClientConnectionOptions) -> bytes | list[str]:
    """What host keys are checked against: data, or the files that can be read."""
    given = options.known_hosts
    if isinstance(given, bytes):
        return given
    files = [str(Path(str(file)).expanduser()) for file in given] if isinstance(given, list) else []
    if not options.config.get("UserKnownHostsFile"):
        files = [str(_own_file()), *files]
    if not options.config.get("GlobalKnownHostsFile"):
        files.append("/etc/ssh/ssh_known_hosts")
    return [file for file in files if os.access(file, os.R_OK)] or b""


def look_up(options: asyncssh.SSHClientConnectionOptions, place: Place) -> Known:
    found = asyncssh.match_known_hosts(sources(options), *place)
    return Known(found[0], found[2])


def own_file(options: asyncssh.SSHClientConnectionOptions) -> Path | None:
    """Where a new line goes; None for servers whose keys are not kept in files."""
    given = options.known_hosts
    if isinstance(given, bytes):
        return None
    own = options.config.get("UserKnownHostsFile")
    return Path(str(own[0])).expanduser() if isinstance(own, list) and own else _own_file()


def add(file: Path, place: Place, key: asyncssh.SSHKey, host: str) -> None:
    """Put ``key`` into ``file``: all of the line or nothing. Raises `HostError` for ``host`` with the reason.

    The name is hashed where the file's names are.
    """
    try:
        file = file.resolve()  # of a link, the file it names
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if file.exists() and not file.is_file():  # /dev/null, as some configurations have it
            raise OSError(errno.EINVAL, "it is no file that could keep a key")
        for _ in range(_TRIES):
            if _added(file, place, key):
                return
        raise OSError(errno.EBUSY, "it is being written by others")
    except OSError as error:
        raise HostError(
            f"{file} cannot be written: {error.strerror or error}",
            "see that it is yours, or name another file with UserKnownHostsFile in ~/.ssh/config",
            host=host,
        ) from None


def _added(file: Path, place: Place, key: asyncssh.SSHKey) -> bool:
    """False when the file changed while the new one was made."""
    before = _look(file)
    text = file.read_bytes() if before else b""
    name = _hashed(place.entry) if _HASHED.encode() in text else place.entry
    public = key.export_public_key().decode().split()[:2]
    line = " ".join((name, *public)).encode() + b"\n"
    gap = b"\n" if text and not text.endswith(b"\n") else b""
    new = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as writing:
            writing.write(text + gap + line)
            writing.flush()
            os.fsync(writing.fileno())
        if before:
            new.chmod(before[0] & 0o777)
        if _look(file) != before:
            return False
        new.replace(file)
        return True
    finally:
        new.unlink(missing_ok=True)


def _look(file: Path) -> tuple[int, int, int, int] | None:
    try:
        seen = file.stat()
    except FileNotFoundError:
        return None
    return seen.st_mode, seen.st_ino, seen.st_size, seen.st_mtime_ns


def _hashed(name: str) -> str:
    """As ``ssh-keygen -H`` writes it (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)."""
    salt = secrets.token_bytes(20)
    code = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return _HASHED + "|".join(base64.b64encode(part).decode() for part in (salt, code))


def _own_file() -> Path:
    return Path("~/.ssh/known_hosts").expanduser()
