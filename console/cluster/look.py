"""What of ours is on a host: one read-only round trip, and the value that its answer means."""

import re
from typing import Literal

from msgspec import Struct

from console.cluster.actions import Places
from console.cluster.versions import DEPLOYED, Version, parse_deployed
from ringcore.spec.deployment import MARKER

KEPT_MINUTES = 60  # another console may be about to deploy what it has just put there
HomeState = Literal["absent", "empty", "ours", "foreign"]
_STATES: dict[str, HomeState] = {"absent": "absent", "empty": "empty", "ours": "ours", "foreign": "foreign"}
_OURS = re.compile(r"(code|venv|wheels)-[0-9a-f]{16}")

# $1 home, $2 environment, $3 code, $4 wheels, $5 ring, $6 minutes
_LOOK = f"""
{DEPLOYED}
if [ -f "$1/{MARKER}" ]; then echo home ours
elif [ -d "$1" ]; then [ -z "$(ls -A "$1")" ] && echo home empty || echo home foreign
elif [ -e "$1" ] || [ -L "$1" ]; then echo home foreign
else echo home absent; fi
[ -x "$2/bin/python" ] && echo venv
[ -f "$3/ringcore/__main__.py" ] && echo code
for at in "$4"/*.whl; do [ -f "$at" ] && echo "wheel ${{at##*/}}"; done
for at in "$1"/code-* "$1"/venv-* "$1"/wheels-*; do
  [ -d "$at" ] && [ -n "$(find "$at" -prune -mmin "+$6" 2>/dev/null)" ] && echo "old ${{at##*/}}"
done
for at in "$1"/runs/*/ringcore; do
  [ -f "$at" ] && grep -o -E '(code|venv)-[0-9a-f]+' "$at" | while read -r name; do echo "used $name"; done
done
deployed "$1" "$5"
exit 0
"""


class Found(Struct, frozen=True, kw_only=True):
    """What is there of ours. ``foreign``: something without our marker lies where home should be.

    ``wheels``: names of files. ``unused``: folders that no ring's launcher names, and that nobody has just
    made. ``deployed``: the ringcore that the launcher of the ring in question starts.
    """

    home: HomeState
    has_venv: bool
    has_code: bool
    wheels: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    deployed: Version | None = None


def look_argv(places: Places, ring: str, kept_minutes: int = KEPT_MINUTES) -> list[str]:
    paths = (places.home, places.venv, places.code, places.wheels)
    return ["/bin/sh", "-c", _LOOK, "sh", *paths, ring, str(kept_minutes)]


def read_look(output: str, places: Places) -> Found:
    """Raises `KeyError` when the answer lacks the state of home."""
    lines = [line.partition(" ") for line in output.splitlines()]
    said: dict[str, list[str]] = {}
    for key, _, value in lines:
        said.setdefault(key, []).append(value)
    own = {path.rpartition("/")[2] for path in (places.venv, places.code, places.wheels)}
    kept = own | set(said.get("used", ()))
    unused = [name for name in said.get("old", ()) if _OURS.fullmatch(name) and name not in kept]
    return Found(
        home=_STATES[said["home"][0]],
        has_venv="venv" in said,
        has_code="code" in said,
        wheels=tuple(said.get("wheel", ())),
        unused=tuple(sorted(unused)),
        deployed=parse_deployed(said["deployed"][0].split()) if "deployed" in said else None,
    )
