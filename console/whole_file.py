"""Puts text into a file: all of it or nothing. Knows nothing of what the text says."""

import os
import stat
from contextlib import suppress
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """``path`` holds ``text`` afterwards; an existing file keeps its permissions, a link stays a link.

    Raises ``OSError``; the file is then as it was.
    """
    target = path.resolve()
    temporary = _written(target, text)
    try:
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


def create_text(path: Path, text: str) -> None:
    """The same for a new file. Raises ``FileExistsError`` where something is at ``path``, also where it came
    up meanwhile; ``OSError``."""
    if path.exists() or path.is_symlink():
        raise FileExistsError(path)
    temporary = _written(path, text)
    try:
        _place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _written(target: Path, text: str) -> Path:
    """A file beside ``target`` that holds the text, on the disk."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("x", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        raise OSError(f"{temporary} is in the way") from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _place(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if target.exists():
            raise FileExistsError(target) from None
        temporary.replace(target)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
