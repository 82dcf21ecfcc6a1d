"""A defect of this program, told to its user: what broke in one line, and where the details are to report.

Knows nothing of what was being done.
"""

import os
import tempfile
import traceback
from pathlib import Path

from console.audit import audit_file
from console.logs.text import safe_line


def told(error: BaseException) -> str:
    """One message with a remedy. The details go into a file of this user's state folder, 0600."""
    what, remedy = _said(error)
    try:
        place = _kept("".join(traceback.format_exception(error)))
    except OSError:
        return f"{what}\n  remedy: {remedy}"
    return f"{what}\n  remedy: {remedy}; details are in {place}"


def _said(error: BaseException) -> tuple[str, str]:
    if isinstance(error, OSError):  # this machine's trouble more likely than ours
        where = f"{error.filename}: " if error.filename else ""
        return (
            f"this machine refused something: {safe_line(where + (error.strerror or str(error)))}",
            "see that its disk has room and that you may read and write there",
        )
    return (
        f"unexpected {type(error).__name__}: {safe_line(str(error))}",
        "this is a defect of mlxring; report what was typed",
    )


def _kept(text: str) -> Path:
    """The newest one only: it replaces the one before."""
    path = audit_file().with_name("defect.txt")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(path)
    return path
