"""The program on a host that looks after a ring's blocks: started with whatever Python is there.

What it does is `ringcore.cache.carry`'s. Knows nothing of what is asked of it.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib import resources

import msgspec
from msgspec import Struct

from console.cluster.host import Attached, Host
from console.cluster.remote import DEFAULT_HOME
from console.cluster.shell import EXPAND
from console.logs.text import safe_line
from ringcore.spec.errors import HostError, MlxringError, ProvisionError

STALL_SECONDS = 60.0  # nothing sent or taken by the host for so long
MOST_BYTES = 2 << 30  # of one block's file
_MOST_LINE = 64 << 20

# $1 home, $2 ring, $3 the profile's interpreter, $4 program, $5 task, the rest its arguments. A ring that has
# run here left an interpreter.
_RUN = (
    EXPAND
    + """
PATH=$PATH:/usr/local/bin:/opt/homebrew/bin:/usr/bin:/bin; export PATH
umask 077
home=$(expand "$1") && folder=$home/runs/$2/prefix python=$(expand "$3") program=$4 task=$5; shift 5
for each in "$python" "$home"/venv-*/bin/python "$home"/python/*/bin/python3 python3; do
  each=$(command -v -- "$each") || continue
  "$each" -c 'import sys; sys.exit(sys.version_info < (3, 8))' </dev/null 2>/dev/null || continue
  exec "$each" -I -B -c "$program" "$task" "$folder" "$@"
done
echo '{"ok": false, "cause": "no Python 3.8 or newer was found there"}'
"""
)


class Answer(Struct, frozen=True):
    """A line of the host's program; see there."""

    ok: bool = True
    cause: str = ""
    full: bool = False
    name: str = ""
    bytes: int = 0
    gone: bool = False
    done: str = ""
    same: bool = False
    free: int = 0
    roots: dict[str, list[tuple[str, int, float]]] = {}


def program(host: Host, ring: str, task: str, *arguments: str) -> list[str]:
    """argv of a task there."""
    text = resources.files("ringcore.cache").joinpath("carry.py").read_text()
    options = host.options
    place = (options.home or DEFAULT_HOME, ring, options.python)
    return ["/bin/sh", "-c", _RUN, "sh", *place, text, task, *arguments]


def read(line: bytes, host: Host, otherwise: str = "") -> Answer:
    """What the program says in ``line``. Raises `ProvisionError` when it says why not, or nothing that could
    be understood; ``otherwise`` is told then."""
    name = host.options.name
    try:
        answer = msgspec.json.decode(line, type=Answer)
    except msgspec.MsgspecError:
        said = safe_line((otherwise.strip() or line.decode(errors="replace").strip())[-300:]) or "nothing"
        raise ProvisionError(
            f"the program that looks after blocks there broke off, saying {said}",
            "see that Python works on this host, or set hosts.python in the profile",
            host=name,
        ) from None
    if answer.ok:
        return answer
    cause = safe_line(answer.cause)
    if answer.full:
        raise ProvisionError(
            f"its disk is full: {cause}",
            "free space there and run the command again: what has arrived stays; or lower cache.disk",
            host=name,
        )
    raise ProvisionError(
        f"blocks of the prefix cache: {cause}", "see who owns the ring's run folder there", host=name
    )


class Words:
    """What a program on ``host`` says: lines, and bytes between them. Raises `HostError` when it falls silent
    or ends too early."""

    def __init__(self, remote: Attached, host: Host) -> None:
        self._chunks = remote.chunks()
        self._held = bytearray()
        self._host = host

    async def line(self) -> bytes:
        while (at := self._held.find(b"\n")) < 0:
            await self._more(len(self._held) + 1)
            if len(self._held) > _MOST_LINE:
                raise self._error("says a line without an end")
        line = bytes(self._held[:at])
        del self._held[: at + 1]
        return line

    async def exactly(self, size: int) -> bytes:
        await self._more(size)
        data = bytes(self._held[:size])
        del self._held[:size]
        return data

    async def _more(self, size: int) -> None:
        """At least ``size`` bytes are held."""
        while len(self._held) < size:
            try:
                async with asyncio.timeout(STALL_SECONDS):
                    data = await anext(self._chunks, b"")
            except TimeoutError:
                raise self._error(f"said nothing for {STALL_SECONDS:.0f} s") from None
            if not data:
                raise self._error("ended before all was said")
            self._held += data

    def _error(self, what: str) -> HostError:
        return HostError(
            f"the program that looks after blocks there {what}",
            "see whether the host or its disk hangs, then run the command again",
            host=self._host.options.name,
        )


@asynccontextmanager
async def running(host: Host, ring: str, task: str, root: str) -> AsyncGenerator[Attached, None]:
    """A task of the program. It is given a moment to remove what it has begun, however this ends."""
    async with host.stream(program(host, ring, task, root), timeout=0) as remote:
        try:
            yield remote
        finally:
            with suppress(MlxringError):
                await remote.close()


async def ask(remote: Attached, host: Host, data: bytes) -> None:
    """Send ``data``. Raises `HostError` when the host takes nothing."""
    try:
        async with asyncio.timeout(STALL_SECONDS):
            await remote.send(data)
    except TimeoutError:
        raise HostError(
            f"the host took no data for {STALL_SECONDS:.0f} s",
            "see whether the host or its disk hangs, then run the command again",
            host=host.options.name,
        ) from None
