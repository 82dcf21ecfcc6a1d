"""Puts a profile into a file, and never over another one unasked."""

from pathlib import Path
from typing import Any

from console.whole_file import create_text, replace_text
from ringcore.spec.errors import ProfileError

_HEADER = "# Written by `mlxring init`. `mlxring check FILE` says whether everything it needs is there.\n\n"


def refuse_existing(path: Path) -> None:
    """Raises `ProfileError` when something is at ``path``."""
    if path.exists() or path.is_symlink():
        raise _there_already(path)


def write_profile(path: Path, data: dict[str, Any], *, replace: bool) -> None:
    """Write ``data`` as TOML. Raises `ProfileError` with the reason when that is not possible."""
    try:
        if replace:
            replace_text(path, _text(data))
        else:
            create_text(path, _text(data))
    except FileExistsError:
        raise _there_already(path) from None
    except OSError as error:
        raise ProfileError(
            f"{path} cannot be written: {error.strerror or error}", "name a file in a folder of yours"
        ) from None


def _text(data: dict[str, Any]) -> str:
    import tomlkit

    rest = {key: value for key, value in data.items() if key != "hosts"}
    return _HEADER + tomlkit.dumps(rest | {"hosts": data["hosts"]})  # hosts last, as in the examples


def _there_already(path: Path) -> ProfileError:
    return ProfileError(f"{path} is there already", "name another file, or replace it with --force")
