"""Puts a profile into a file: all of it or nothing, and never over another one unasked."""

import os
from pathlib import Path
from typing import Any

from ringcore.spec.errors import ProfileError

_HEADER = "# Written by `mlxring init`. `mlxring check FILE` says whether everything it needs is there.\n\n"


def refuse_existing(path: Path) -> None:
    """Raises `ProfileError` when something is at ``path``."""
    if path.exists() or path.is_symlink():
        raise ProfileError(f"{path} is there already", "name another file, or replace it with --force")


def write_profile(path: Path, data: dict[str, Any], *, replace: bool) -> None:
    """Write ``data`` as TOML. Raises `ProfileError` with the reason when that is not possible."""
    if not replace:
        refuse_existing(path)
    target = path.resolve()  # of a link that is replaced, the file it names
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(_text(data))
                file.flush()
                os.fsync(file.fileno())
            if replace:
                temporary.replace(target)
            else:
                _place(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(target.parent)
    except FileExistsError:
        raise ProfileError(
            f"{path} is there already", "name another file, or replace it with --force"
        ) from None
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be written: {error.strerror or error}", "name a file in a folder of yours"
        ) from None


def _text(data: dict[str, Any]) -> str:
    import tomli_w

    rest = {key: value for key, value in data.items() if key != "hosts"}
    # Left to itself, tomli-w puts short hosts into one line each.
    hosts = "".join(f"\n[[hosts]]\n{tomli_w.dumps(host)}" for host in data["hosts"])
    return _HEADER + tomli_w.dumps(rest) + hosts


def _place(temporary: Path, target: Path) -> None:
    """Give the file its name. Raises ``FileExistsError`` where another has come up meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        refuse_existing(target)
        temporary.replace(target)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
