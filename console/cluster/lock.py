"""The hosts' lock file: which packages, in which versions, on which platform. Pure but for reading the file.

Markers are of the kind that ``uv pip compile --universal`` writes: comparisons of strings and versions
joined by ``and`` and ``or``, with parentheses. Knows nothing of hosts.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping

from msgspec import Struct

_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)\s*(?:;\s*([^\\]*?))?\s*\\?$")
_TOKEN = re.compile(r"\s*(\(|\)|and\b|or\b|[<>=!~]=|[<>]|not\s+in\b|in\b|'[^']*'|\"[^\"]*\"|[a-z_]+)")
_VERSION_KEYS = ("python_version", "python_full_version")
Environment = Mapping[str, str]  # PEP 508's names -> values of one interpreter


class Pin(Struct, frozen=True):
    """One locked package. ``name`` normalised (PEP 503); ``marker`` "" applies everywhere."""

    name: str
    version: str
    marker: str = ""

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


def lock_text(*, cuda: bool = False) -> bytes:
    """``requirements.lock`` as this console carries it, hashes included; the one with MLX for CUDA."""
    from importlib.resources import files

    name = "requirements-cuda.lock" if cuda else "requirements.lock"
    return (files("ringcore") / name).read_bytes()


def lock_hash(text: bytes) -> str:
    """Names the virtual environment that this lock file makes."""
    return hashlib.sha256(text).hexdigest()[:16]


def parse_lock(text: bytes) -> tuple[Pin, ...]:
    """Every pin of the file, in its order."""
    matches = (_PIN.match(line) for line in text.decode().splitlines())
    return tuple(Pin(normal(m[1]), m[2], m[3] or "") for m in matches if m is not None)


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_for(pins: Iterable[Pin], environment: Environment) -> tuple[Pin, ...]:
    """Those that an interpreter with ``environment`` needs."""
    return tuple(pin for pin in pins if not pin.marker or applies(pin.marker, environment))


def missing_pins(
    pins: Iterable[Pin], environment: Environment, installed: Mapping[str, str]
) -> tuple[Pin, ...]:
    """Pins that are absent, or there in another version. ``installed``: normalised name -> version."""
    return tuple(pin for pin in pins_for(pins, environment) if installed.get(pin.name) != pin.version)


def applies(marker: str, environment: Environment) -> bool:
    """Whether an environment marker (PEP 508) holds. Raises `ValueError` for what it cannot read."""
    tokens = _tokens(marker)
    value = _any(tokens, environment)
    if tokens:
        raise ValueError(f"unreadable environment marker: {marker!r}")
    return value


def _tokens(marker: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    marker = marker.rstrip()
    while at < len(marker):
        match = _TOKEN.match(marker, at)
        if match is None:
            raise ValueError(f"unreadable environment marker: {marker!r}")
        tokens.append(match[1])
        at = match.end()
    return tokens


def _any(tokens: list[str], environment: Environment) -> bool:
    value = _all(tokens, environment)
    while tokens and tokens[0] == "or":
        tokens.pop(0)
        value = _all(tokens, environment) or value
    return value


def _all(tokens: list[str], environment: Environment) -> bool:
    value = _comparison(tokens, environment)
    while tokens and tokens[0] == "and":
        tokens.pop(0)
        value = _comparison(tokens, environment) and value
    return value


def _comparison(tokens: list[str], environment: Environment) -> bool:
    if tokens and tokens[0] == "(":
        tokens.pop(0)
        value = _any(tokens, environment)
        if not tokens or tokens.pop(0) != ")":
            raise ValueError("an environment marker lacks its closing parenthesis")
        return value
    if len(tokens) < 3:
        raise ValueError("an environment marker breaks off")
    left, operator, right = tokens.pop(0), tokens.pop(0), tokens.pop(0)
    a, b = _value(left, environment), _value(right, environment)
    if left in _VERSION_KEYS or right in _VERSION_KEYS:
        return _compare(operator, _release(a), _release(b))
    return _compare(operator, a, b)


def _value(token: str, environment: Environment) -> str:
    if token[0] in "'\"":
        return token[1:-1]
    if token not in environment:
        raise ValueError(f"an environment marker asks for {token!r}, which is not known here")
    return environment[token]


def _compare(operator: str, a: object, b: object) -> bool:
    match operator:
        case "==":
            return a == b
        case "!=":
            return a != b
        case "<":
            return a < b  # type: ignore[operator]
        case "<=":
            return a <= b  # type: ignore[operator]
        case ">":
            return a > b  # type: ignore[operator]
        case ">=":
            return a >= b  # type: ignore[operator]
        case _:
            raise ValueError(f"an environment marker compares with {operator!r}")


def _release(version: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"[0-9]+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))
