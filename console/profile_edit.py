"""Changes one key of a profile's file, ``ring.layers``, and leaves all else in it as its author wrote it.

Knows TOML and the checks of a profile; not why the layers are these.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from console.whole_file import replace_text
from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import Profile
from ringcore.spec.profile_file import load_profile, profile_from

if TYPE_CHECKING:
    from tomlkit import TOMLDocument
    from tomlkit.items import Array


def write_layers(profile: Profile, layers: Sequence[int]) -> Profile:
    """Write ``layers``, rank 0 first, into the file that ``profile`` was read from; none: the planner's.

    Returns the profile as the file now says it. Raises `ProfileError` when it has no file, the file names
    other hosts by now or is no profile any more, or it cannot be written; the file is then as it was.
    """
    # Takes 30 ms, which only who writes should pay.
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    if not profile.path:
        raise ProfileError("this ring has no profile file", "write one with `mlxring init` and open that")
    path = Path(profile.path)
    load_profile(path)  # only what is a profile still is edited
    try:
        before = path.read_bytes().decode()
        document = tomlkit.parse(before)
        _set_layers(document, layers)
        after = tomlkit.dumps(document)
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path} cannot be read: {_why(error)}", "put the profile back") from None
    except TOMLKitError as error:
        raise ProfileError(f"{path} is not valid TOML any more: {error}", "correct that line") from None
    if "\r\n" in before:
        after = after.replace("\r\n", "\n").replace("\n", "\r\n")
    changed = profile_from(tomllib.loads(after), profile.path)
    if [host.name for host in changed.hosts] != [host.name for host in profile.hosts]:
        raise ProfileError(
            f"{path} names other hosts than when it was opened", "leave the console and open it again"
        )
    try:
        replace_text(path, after)
    except OSError as error:
        raise ProfileError(f"{path} cannot be written: {_why(error)}", "see that you may write it") from None
    return changed


def _set_layers(document: "TOMLDocument", layers: Sequence[int]) -> None:
    from tomlkit.items import Array

    ring: Any = document.get("ring")
    if not layers:
        if ring is not None:
            ring.pop("layers", None)
    elif ring is None:
        document["ring"] = {"layers": list(layers)}
    elif "layers" not in ring:
        _append(ring, list(layers))
    elif isinstance(ring["layers"], Array) and len(ring["layers"]) == len(layers):
        _each(ring["layers"], layers)
    else:
        ring["layers"] = list(layers)


def _each(array: "Array", layers: Sequence[int]) -> None:
    """Number by number: comments between them stay."""
    for index, count in enumerate(layers):
        array[index] = count


def _append(ring: Any, layers: list[int]) -> None:
    """After the last key: comments that follow it stand above the next table, and belong to that."""
    body: Any = getattr(getattr(ring, "value", None), "body", [])
    following: list[Any] = []
    while body and body[-1][0] is None:
        following.insert(0, body.pop())
    ring["layers"] = layers
    body.extend(following)


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"
