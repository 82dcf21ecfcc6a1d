"""Who is at work on a ring: one operator at a time changes a host, the second is told who the first is.

A hold is a file ``~/.mlxring-hold-<ring>``, kept by a process that ends with the SSH connection. It counts no
longer when that process is gone, or when nobody has touched it for two minutes because the connection went
without a word. Knows nothing of what is done meanwhile.
"""

import asyncio
import getpass
import os
import secrets
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import msgspec
from msgspec import Struct

from console.cluster.host import Attached, Host
from console.cluster.remote import DEFAULT_HOME, read_run_file
from console.cluster.shell import EXPAND
from console.cluster.steps import together
from console.logs.text import safe_line
from ringcore.spec.deployment import DEPLOYMENT_FILE, PID_FILE
from ringcore.spec.errors import HostError, MlxringError, RingError

BEAT_SECONDS = 10.0
_ANSWER_SECONDS = 15.0
_NO_LIMIT = 0.0

# $1 ring, $2 id of this hold, $3 who, $4 "take" to take it from another, $5 home. Answers "held", or
# "taken <id> <since> <now> <who>" and ends; then "runs" when the ring's agent runs here; then "."
# and later "lost", when another took it. A hard link is made or is not, whoever else tries. A profile may
# name one machine twice: the id is the same. The file: id, pid, machine (homes may be shared), since, who.
_HOLD = (
    EXPAND
    + rf"""
umask 077
place=$HOME
lock=$place/.mlxring-hold-$1
[ -d "$place" ] && [ -w "$place" ] || lock=/tmp/.mlxring-hold-$(id -u)-$1
new=$lock.$2.$$
trap 'rm -f -- "$new"' EXIT
printf '%s %s %s %s %s\n' "$2" "$$" "$(uname -n)" "$(date +%s)" "$3" > "$new" || exit 1
holder() {{ id= pid= node= since= who=; read -r id pid node since who < "$lock"; }} 2>/dev/null
stale() {{
  {{ [ "$node" = "$(uname -n)" ] && ! kill -0 "$pid" 2>/dev/null; }} ||
  [ -n "$(find "$lock" -prune -mmin +1 2>/dev/null)" ]
}}
mine=1
if ! ln -- "$new" "$lock" 2>/dev/null; then
  holder
  if [ "$id" = "$2" ]; then mine=
  elif [ -n "$id" ] && [ "$4" != take ] && ! stale; then echo "taken $id $since $(date +%s) $who"; exit 0
  else mv -f -- "$new" "$lock"; fi
fi
rm -f -- "$new"
echo held
run="$(expand "$5")/runs/$1"
if read -r agent rest < "$run/{PID_FILE}" && kill -0 "$agent"; then echo runs; fi 2>/dev/null
echo .
while read -r beat; do
  holder
  [ "$id" = "$2" ] || {{ echo lost; exit 0; }}
  touch -- "$lock"
done
holder
[ -n "$mine" ] && [ "$id" = "$2" ] && rm -f -- "$lock"
exit 0
"""
)


class Holder(Struct, frozen=True):
    """``since`` on this machine's clock."""

    who: str
    since: float

    def __str__(self) -> str:
        return f"{safe_line(self.who)[:100]}, since {when(self.since)}"


def when(at: float, now: float | None = None) -> str:
    """A moment for people: how long ago, and the time of day here."""
    age = max(0, int((time.time() if now is None else now) - at))
    ago = f"{age} s" if age < 120 else f"{age // 60} min" if age < 7200 else f"{age // 3600} h"
    form = "%H:%M:%S" if age < 86400 else "%Y-%m-%d %H:%M"
    try:
        return f"{time.strftime(form, time.localtime(at))} ({ago})"
    except (ValueError, OverflowError, OSError):  # a host may name any moment
        return "a moment that no clock shows"


def operator_name() -> str:
    """``user@machine`` of whoever runs this."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


class _Deployed(Struct):
    operator: str = ""
    made_at: float = 0.0


async def deployed_by(host: Host, ring: str) -> Holder | None:
    """Who deployed ``ring`` as it is on ``host``; None when nobody says."""
    result = await host.run(read_run_file(host.options.home, ring, DEPLOYMENT_FILE), timeout=_ANSWER_SECONDS)
    try:
        made = msgspec.json.decode(result.stdout, type=_Deployed)
    except msgspec.MsgspecError:
        return None
    return Holder(made.operator, made.made_at) if made.operator else None


class Hold:
    """``running``: hosts, by name, where the ring's agent runs."""

    def __init__(self) -> None:
        self.running: set[str] = set()


@asynccontextmanager
async def hold(
    hosts: Sequence[Host], ring: str, *, take: bool = False, who: str = ""
) -> AsyncGenerator[Hold, None]:
    """Nobody else changes ``ring`` on ``hosts`` within. Raises `RingError` that names who does already.

    ``take``: whoever is at work there loses it, and what they were doing is broken off.
    """
    held = Hold()
    lost: list[str] = []
    streams: list[Attached] = []
    tasks: list[asyncio.Task[None]] = []
    own = asyncio.current_task()
    assert own is not None
    words = (ring, secrets.token_hex(8), safe_line(who or operator_name()), "take" if take else "")

    def lose(host: str) -> None:
        lost.append(host)
        own.cancel()

    async with AsyncExitStack() as stack:

        async def one(host: Host) -> None:
            argv = ["/bin/sh", "-c", _HOLD, "sh", *words, host.options.home or DEFAULT_HOME]
            there = await stack.enter_async_context(host.stream(argv, timeout=_NO_LIMIT))
            streams.append(there)
            lines = there.lines()
            await _taken_up(host, ring, lines, held)
            tasks.append(asyncio.create_task(_beat(there)))
            tasks.append(asyncio.create_task(_listen(lines, lambda: lose(host.options.name))))

        try:
            # the first host decides between two that come at the same time
            for group in (hosts[:1], hosts[1:]):
                if problems := await together(one(host) for host in group):
                    raise problems[0]
            yield held
        except asyncio.CancelledError:
            if not lost:
                raise
            own.uncancel()
            raise RingError(
                f"another operator has taken over the ring {ring}; what was being done is broken off",
                "see what they do with `mlxring status PROFILE` or `mlxring logs --follow PROFILE`",
                host=lost[0],
            ) from None
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await together(there.close() for there in streams)


async def _taken_up(host: Host, ring: str, lines: AsyncIterator[bytes], held: Hold) -> None:
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            _read(await anext(lines, b""), host, ring)
            while (said := await anext(lines, b".")) != b".":
                if said == b"runs":
                    held.running.add(host.options.name)
    except TimeoutError:
        raise HostError(
            f"it did not say within {_ANSWER_SECONDS:.0f} s who is at work on the ring {ring}",
            "see whether its disk hangs, then run this again",
            host=host.options.name,
        ) from None


def _read(line: bytes, host: Host, ring: str) -> None:
    """Raises `RingError` for a hold that somebody else has, `HostError` for another answer than ``held``."""
    words = line.decode(errors="replace").split(" ", 4)
    if words == ["held"]:
        return
    if words[0] == "taken" and len(words) == 5:
        holder = _holder(dict(zip(("since", "now", "who"), words[2:], strict=True)))
        raise RingError(
            f"another operator is at work on the ring {ring}: {holder}",
            "watch with `mlxring PROFILE` or `mlxring logs --follow PROFILE`, or wait until they are done; "
            "`mlxring down PROFILE --take-over` breaks off what they do",
            host=host.options.name,
        )
    raise HostError(
        "it cannot be noted there who is at work on the ring",
        "see that this user may write into its home folder, and that its disk is not full",
        host=host.options.name,
    )


def _holder(words: Mapping[str, str]) -> Holder:
    age = 0.0
    if words["since"].isdigit() and words["now"].isdigit():
        age = max(0.0, float(int(words["now"]) - int(words["since"])))
    return Holder(words["who"], time.time() - age)


async def _beat(there: Attached) -> None:
    with suppress(MlxringError):
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            await there.send(b"\n")


async def _listen(lines: AsyncIterator[bytes], lose: Callable[[], object]) -> None:
    with suppress(MlxringError):  # a connection that broke is noticed by what is done over it
        async for line in lines:
            if line == b"lost":
                lose()
                return
