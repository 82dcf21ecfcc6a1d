"""``--what-if context=16384,without=mini2``: a profile with some keys changed, never written anywhere."""

import difflib
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ringcore.spec.errors import ProfileError
from ringcore.spec.profile import CacheOptions, Profile
from ringcore.spec.profile_file import profile_from, to_toml_data
from ringcore.spec.profile_schema import keys_of

SOURCE = "--what-if"
HELP = (
    "plan as if the profile said so: keys of [ring] (context=16384, sequences=8, objective=latency, "
    "layers=40+20+20) and [cache] (kv_bits=8), model=PATH, without=HOST, HOST.memory=12GiB; with commas "
    "between them"
)
_OF_CACHE = keys_of(CacheOptions)
_WORDS: dict[str, Any] = {"true": True, "false": False}


class Change(Struct, frozen=True):
    """``key`` is ``without``, ``model``, a key of ``[ring]`` or ``[cache]``, or ``HOST.key`` of a host."""

    key: str
    value: str


def changes(text: str) -> tuple[Change, ...]:
    """The changes in ``key=value,key=value``. Raises `ProfileError` naming what is none."""
    found: list[Change] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (each.strip() for each in part.partition("="))
        if not (equals and key and value):
            raise ProfileError(
                f"{SOURCE}: {part[:60]!r} is no change",
                "write key=value, such as context=16384,without=mini2",
            )
        found.append(Change(key, value))
    return tuple(found)


def changed(profile: Profile, wanted: Sequence[Change]) -> Profile:
    """``profile`` with the changes. Raises `ProfileError` as a file with these values would."""
    data = to_toml_data(profile)
    for change in wanted:
        host, dot, key = change.key.rpartition(".")
        if change.key == "without":
            data["hosts"].remove(_host(data, change.value))
        elif dot:
            _host(data, host)[key] = _value(key, change.value)
        elif key == "model":
            data["model"] = change.value
        else:
            data.setdefault("cache" if key in _OF_CACHE else "ring", {})[key] = _value(key, change.value)
    return profile_from(data, SOURCE)


def _host(data: dict[str, Any], name: str) -> dict[str, Any]:
    names = [host["name"] for host in data["hosts"]]
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        raise ProfileError(
            f"{SOURCE}: no host is named {name[:60]!r}",
            f'did you mean "{near[0]}"?' if near else f"name one of {', '.join(names)}",
        )
    return data["hosts"][names.index(name)]


def _value(key: str, text: str) -> Any:
    if key == "layers":
        parts = text.split("+")
        return [int(part) if _is_number(part.strip()) else part for part in parts]
    if _is_number(text):
        return int(text)
    return _WORDS.get(text, text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20
