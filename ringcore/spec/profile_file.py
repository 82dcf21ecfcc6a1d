"""Profiles as files: TOML to a checked `Profile`, and back to the data of one.

All that is wrong with a file is told at once. Writing text and files is the console's.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import structs

from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import Profile
from ringcore.spec.profile_rules import problems_of
from ringcore.spec.profile_schema import FILE_KEYS, Problem, keys_of, read
from ringcore.spec.units import exact_bytes

_MAX_FILE = 1 << 20


def load_profile(path: Path) -> Profile:
    """Read and check one file. Raises `ProfileError` naming file, line or key, expectation and remedy."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot be read: {error.strerror or error}",
            "name a profile that exists, or write one with `mlxring init`",
        ) from None
    if len(raw) > _MAX_FILE:
        raise ProfileError(f"{path}: is larger than 1 MiB", "name a profile; this is none")
    try:
        data = tomllib.loads(raw.decode())
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ProfileError(f"{path}: line {line} is not UTF-8 text", "save the file as UTF-8") from None
    except (ValueError, RecursionError) as error:  # also numbers and nesting beyond all measure
        raise ProfileError(
            f"{path}: is not valid TOML: {error}", 'correct that line; text is written "in quotes"'
        ) from None
    return profile_from(data, str(path))


def profile_from(data: Mapping[str, Any], source: str) -> Profile:
    """The profile in ``data`` (as `tomllib` gives it); ``source`` names it in messages and becomes ``path``.

    Raises one `ProfileError` with every problem.
    """
    values, problems = read(data)
    if problems:
        raise _error(source, problems)
    profile = structs.replace(msgspec.convert(values, Profile), path=source)
    problems = problems_of(profile)
    if problems:
        raise _error(source, problems)
    return profile


def to_toml_data(profile: Profile) -> dict[str, Any]:
    """The file's data: all that is not a default. `profile_from` of it gives ``profile`` again."""
    return _data(profile)


def _data(value: msgspec.Struct) -> dict[str, Any]:
    data: dict[str, Any] = {}
    defaults = {field.name: field.default for field in structs.fields(value)}
    for key, name in keys_of(type(value)).items():
        item = getattr(value, name)
        if item == defaults[name]:
            continue
        if name in FILE_KEYS and item is not None:
            item = exact_bytes(item)
        elif isinstance(item, msgspec.Struct):
            item = _data(item)
        elif isinstance(item, tuple):
            item = [_data(each) if isinstance(each, msgspec.Struct) else each for each in item]
        data[key] = item
    return data


def _error(source: str, problems: Sequence[Problem]) -> ProfileError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ProfileError(f"{source}: {count}{lines}", "correct the keys named above; nothing was touched")
