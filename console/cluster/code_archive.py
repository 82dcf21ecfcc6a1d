"""The package ``ringcore`` as this console has it, packed for the hosts. Knows nothing of hosts."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from msgspec import Struct


class CodeArchive(Struct, frozen=True):
    """``hash`` is of names and contents, so it names the code; ``sha256`` is of ``data``, a tar.gz."""

    hash: str
    data: bytes
    sha256: str


@cache
def code_archive() -> CodeArchive:
    """The same bytes from the same files, wherever and whenever it is made."""
    from importlib.resources import files

    root = Path(str(files("ringcore")))
    digest = hashlib.sha256()
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, filename="", compresslevel=6) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for path in _files(root):
            data = path.read_bytes()
            name = f"ringcore/{path.relative_to(root).as_posix()}"
            digest.update(f"{name}\0{len(data)}\0".encode() + data)
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o644, 0
            tar.addfile(entry, io.BytesIO(data))
    made = packed.getvalue()
    return CodeArchive(digest.hexdigest()[:16], made, hashlib.sha256(made).hexdigest())


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part == "__pycache__" or part.startswith(".") for part in parts)
        if path.is_file() and not hidden and path.suffix != ".pyc":
            yield path
