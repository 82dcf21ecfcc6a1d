"""Which ringcore a ring's launcher starts on a host, compared with this console's. Says; decides nothing."""

from msgspec import Struct

from console.cluster.host import Host
from console.cluster.remote import DEFAULT_HOME, LAUNCHER
from console.cluster.shell import EXPAND

_TIMEOUT = 15.0

# $1 home (expanded), $2 ring
DEPLOYED = rf"""deployed() {{
  launcher=$1/runs/$2/{LAUNCHER}
  [ -f "$launcher" ] || return 0
  code=$(sed -n "s/^PYTHONPATH=.*\/code-\([0-9a-f]\{{16\}}\)'\{{0,1\}} PYTHONSAFEPATH=.*/\1/p" "$launcher")
  version=$(sed -n 's/^__version__ = "\([0-9A-Za-z.+-]*\)".*/\1/p' "$1/code-$code/ringcore/__init__.py")
  echo "deployed $code $version"
}} 2>/dev/null
"""
_ASK = EXPAND + DEPLOYED + 'deployed "$(expand "$1")" "$2"; exit 0'


class Version(Struct, frozen=True):
    """``code`` names the contents of the package ``ringcore``, ``number`` is what it calls itself."""

    code: str
    number: str = ""

    def __str__(self) -> str:
        return f"{self.number or 'of an unknown version'} (code {self.code[:8]})"


def parse_deployed(words: list[str]) -> Version | None:
    """The words after ``deployed``; None when the launcher named no code of ours."""
    return Version(words[0], words[1] if len(words) > 1 else "") if words else None


async def deployed_version(host: Host, ring: str) -> Version | None:
    """What the ring's launcher on ``host`` starts; None when nothing of it is deployed."""
    argv = ["/bin/sh", "-c", _ASK, "sh", host.options.home or DEFAULT_HOME, ring]
    result = await host.run(argv, timeout=_TIMEOUT)
    for line in result.stdout.splitlines():
        if line.startswith("deployed "):
            return parse_deployed(line.split()[1:])
    return None
