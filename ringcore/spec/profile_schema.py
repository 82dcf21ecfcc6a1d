"""Does a table read from TOML have the shape of a profile? Every problem found, none raised.

Keys, types and limits come from the structs of `profile`; what the keys mean together is `profile_rules`.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct, inspect

from ringcore.spec.profile import Profile
from ringcore.spec.units import MIB, parse_bytes

FILE_KEYS = {
    "memory_bytes": "memory",
    "disk_bytes": "disk",
}  # field of the struct -> key in the file, where they differ
NOT_IN_FILE = {"path"}
MEMORY = "a size with its unit, of at least 64 MiB"
_MIN_MEMORY = 64 * MIB


class Problem(Struct, frozen=True, kw_only=True):
    """One thing wrong. ``key`` is its path, such as ``hosts[1].memory``; ``found`` is for reading."""

    key: str
    found: str
    expected: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: found {self.found}; expected {self.expected}\n      -> {self.remedy}"


def shown(value: object) -> str:
    """A value from a file on one line, at most 60 characters, control characters escaped."""
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def read(data: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The values under the structs' field names (wrong ones left out), and all problems, in order."""
    problems: list[Problem] = []
    values = _struct(inspect.type_info(Profile), data, "", problems)
    return values, problems


def keys_of(struct: type[Struct]) -> dict[str, str]:
    """File key -> field name, in the struct's order."""
    names = [field.name for field in msgspec.structs.fields(struct)]
    return {FILE_KEYS.get(name, name): name for name in names if name not in NOT_IN_FILE}


def _struct(kind: Any, data: Mapping[str, Any], at: str, problems: list[Problem]) -> dict[str, Any]:
    known = keys_of(kind.cls)
    where = f"{at}." if at else ""
    for key in data:
        if key not in known:
            problems.append(_unknown(key, where, tuple(known)))
    values: dict[str, Any] = {}
    fields = {field.name: field for field in kind.fields}
    for key, name in known.items():
        field, path = fields[name], where + key
        if key not in data:
            if field.required:
                expected = _expected(field.type)
                problems.append(
                    Problem(key=path, found="nothing", expected=expected, remedy=f"add the key {key!r}")
                )
            continue
        value = _memory(data[key], path, problems) if name in FILE_KEYS else None
        if name not in FILE_KEYS:
            value = _value(field.type, data[key], path, problems)
        if value is not _WRONG:
            values[name] = value
    return values


_WRONG: Any = object()


def _value(kind: Any, value: Any, at: str, problems: list[Problem]) -> Any:
    """The value as the type wants it, or ``_WRONG`` after noting why."""
    bare = _bare(kind)
    if isinstance(bare, inspect.StructType) and isinstance(value, dict):
        return _struct(bare, value, at, problems)
    if isinstance(bare, inspect.VarTupleType) and isinstance(value, list):
        if len(value) < (bare.min_length or 0) or len(value) > (bare.max_length or len(value)):
            problems.append(
                Problem(
                    key=at,
                    found=f"{len(value)} of them",
                    expected=_expected(kind),
                    remedy="remove some" if value else "add at least one",
                )
            )
        items = [_value(bare.item_type, item, f"{at}[{i}]", problems) for i, item in enumerate(value)]
        return _WRONG if any(item is _WRONG for item in items) else items
    if _matches(bare, value):
        return value
    problems.append(
        Problem(key=at, found=shown(value), expected=_expected(kind), remedy=_correction(bare, value))
    )
    return _WRONG


def _matches(kind: Any, value: Any) -> bool:
    if isinstance(kind, inspect.IntType):
        fits = isinstance(value, int) and not isinstance(value, bool)
        return fits and (kind.ge is None or value >= kind.ge) and (kind.le is None or value <= kind.le)
    if isinstance(kind, inspect.LiteralType):
        return any(type(value) is type(each) and value == each for each in kind.values)
    if isinstance(kind, inspect.BoolType):
        return isinstance(value, bool)
    if isinstance(kind, inspect.StrType):
        if not isinstance(value, str) or not value.isprintable():
            return False
        short = kind.max_length is None or len(value) <= kind.max_length
        return short and (kind.pattern is None or re.search(kind.pattern, value) is not None)
    return False


def _memory(value: Any, at: str, problems: list[Problem]) -> Any:
    size = 0
    if isinstance(value, str):
        try:
            size = parse_bytes(value)
        except ValueError:
            size = 0
    of_cache = at.startswith("cache.")  # which may be off
    none = of_cache and isinstance(value, str) and re.fullmatch(r"0 ?[KMGT]?i?B", value.strip())
    if none or (size >= _MIN_MEMORY and isinstance(value, str) and not value.strip().isdigit()):
        return size
    gib = value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 12
    problems.append(
        Problem(
            key=at,
            found=shown(value),
            expected=f'{MEMORY}, or "0 MiB" for none' if of_cache else MEMORY,
            remedy=f'write "{gib} GiB" (KiB, MiB, GiB, TiB, MB, GB; in quotes)',
        )
    )
    return _WRONG


def _expected(kind: Any) -> str:
    extra: Mapping[str, str] = {}
    kind = _present(kind)
    if isinstance(kind, inspect.Metadata):
        extra, kind = kind.extra or {}, kind.type
    if isinstance(kind, inspect.IntType):
        return f"a whole number from {kind.ge} to {kind.le}"
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(_written(value) for value in kind.values)
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, inspect.VarTupleType):
        if isinstance(kind.item_type, inspect.StructType):
            return f"{kind.min_length} to {kind.max_length} tables [[hosts]]"
        return f"a list, each {_expected(kind.item_type)}"
    if isinstance(kind, inspect.StructType):
        return "a table"
    text = extra.get("expected", "text in quotes, without control characters")
    length = getattr(kind, "max_length", None)
    return f"{text}, at most {length} long" if length else text


def _correction(kind: Any, value: Any) -> str:
    if isinstance(kind, inspect.LiteralType):
        numbers = [each for each in kind.values if isinstance(each, int)]
        if numbers:
            return _nearest(numbers, value)
        options = [str(option) for option in kind.values]
        near = difflib.get_close_matches(str(value).lower(), options, n=1)
        return f'write "{near[0]}"' if near else "write one of these"
    if isinstance(kind, inspect.IntType):
        if isinstance(value, str) and value.strip().lstrip("-").isdigit():
            return f"write it without quotes: {value.strip()}"
        if isinstance(value, int) and not isinstance(value, bool):
            low, high = kind.ge or 0, kind.le or value
            return f"write {min(max(value, low), high)}"
        return "write a whole number, without quotes or a point"
    if isinstance(kind, inspect.BoolType):
        return "write true or false, without quotes"
    if isinstance(kind, inspect.VarTupleType):
        if isinstance(kind.item_type, inspect.StructType):
            return "start each of them with a line [[hosts]]"
        numbers = isinstance(_bare(kind.item_type), inspect.IntType)
        return "write a list such as " + ("[9, 9, 9]" if numbers else '["one", "two"]')
    if isinstance(kind, inspect.StructType):
        return "start it with a line such as [ring], or [[hosts]] for a host"
    if not isinstance(value, str):
        return (
            f'write it as text, in quotes: "{value}"' if not isinstance(value, dict | list) else "write text"
        )
    fixed = re.sub(r"[^A-Za-z0-9._-]+", "-", value).strip("-._")[:40].strip("-._")
    named = isinstance(kind, inspect.StrType) and kind.pattern is not None
    return f'write "{fixed or "mini1"}"' if named else "remove the control characters"


def _nearest(numbers: Sequence[int], value: Any) -> str:
    written = str(value).strip()
    if isinstance(value, bool) or not written.isdecimal():
        return "write one of these"
    return f"write {min(numbers, key=lambda each: abs(each - int(written[:9])))}, without quotes"


def _written(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _bare(kind: Any) -> Any:
    kind = _present(kind)
    return kind.type if isinstance(kind, inspect.Metadata) else kind


def _present(kind: Any) -> Any:
    """What a key may be that is there: none is one that is not."""
    if isinstance(kind, inspect.UnionType):
        return next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    return kind


def _unknown(key: str, where: str, known: Sequence[str]) -> Problem:
    near = difflib.get_close_matches(key.lower(), known, n=1, cutoff=0.5)
    return Problem(
        key=f"{where}{key if key.isprintable() else ascii(key)}",
        found="an unknown key",
        expected="one of " + ", ".join(known),
        remedy=f'did you mean "{near[0]}"?' if near else "remove it",
    )
