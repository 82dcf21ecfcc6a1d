"""Messages of the control plane: JSON, one a line, no message over `MAX_LINE` bytes.

agent <-> rank      a Unix socket pair, inherited as ``--control-fd``
agent <-> gateway   the same
console <-> agent   ``agent.sock``, through ``python -m ringcore attach`` over SSH
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ringcore.spec.block_file import BlockName
from ringcore.spec.errors import Failure
from ringcore.spec.events import (
    Level,
    MemoryPressure,
    MemoryUsed,
    RankChanged,
    Recorded,
    RequestChanged,
    StepCount,
)

PROTOCOL = 1
MAX_LINE = 1 << 20
MOST_BLOCKS = 8192  # in one message


class _Message(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


# agent -> rank ------------------------------------------------------------------------------------
class Join(_Message, frozen=True, tag="join"):
    """Every rank has loaded: open the links now. ``root``: see `ringcore.spec.root`; "" where nothing is kept
    of earlier sequences."""

    root: str = ""


class Wake(_Message, frozen=True, tag="wake"):
    """The leader has work: leave the parked state and post a receive."""


class Pressure(_Message, frozen=True, tag="pressure"):
    """To rank 0 only: how a rank, itself perhaps, stands with its memory."""

    event: MemoryPressure


class BlocksElsewhere(_Message, frozen=True, tag="elsewhere"):
    """To rank 0 only: blocks of the prefix cache that are whole in files of the ring's hosts, but some rank's
    host lacks layers of them; and the bytes that `Bring` would move for each."""

    blocks: tuple[tuple[BlockName, int], ...]


class Brought(_Message, frozen=True, tag="brought"):
    """The answer to `Bring`: the first ``count`` blocks are in place on every rank's host. ``cause``: why it
    is not all of them. ``bytes`` were moved in ``seconds``."""

    id: int
    count: int
    bytes: int = 0
    seconds: float = 0.0
    cause: str = ""


class Quit(_Message, frozen=True, tag="quit"):
    """End now, in order (rank or gateway); SIGKILL follows after a grace."""


# rank -> agent ------------------------------------------------------------------------------------
class WakeAll(_Message, frozen=True, tag="wake_all"):
    """Rank 0 only: pass `Wake` on to every other rank."""


class Fingerprints(_Message, frozen=True, tag="fingerprints"):
    """What tells the weights that this rank holds from all others: of the embedding, "" where it has none,
    and of each layer. ``code``: what computes with them. Said before the phase "loaded"."""

    embedding: str
    layers: tuple[str, ...]
    code: str


class Bring(_Message, frozen=True, tag="bring"):
    """Rank 0 only: files of these blocks to every host that lacks layers of its rank's, within ``seconds``.
    Answered by `Brought`, whatever happens."""

    id: int
    blocks: Annotated[tuple[BlockName, ...], Meta(max_length=MOST_BLOCKS)]
    seconds: float


class Unwanted(_Message, frozen=True, tag="unwanted"):
    """Rank 0 only: nobody waits for what that `Bring` is for. It is answered, now, as always."""

    id: int


class Say(_Message, frozen=True, tag="say"):
    """A log line with its level known (what is printed on stdout and stderr is logged as well)."""

    level: Level
    text: str


class Fatal(_Message, frozen=True, tag="fatal"):
    """The last words of a rank or gateway: it exits right after."""

    failure: Failure


# gateway -> agent ---------------------------------------------------------------------------------
class GatewayReady(_Message, frozen=True, tag="gateway_ready"):
    url: str


# Steps and memory of every rank go to the gateway, which answers for the ring's health.
class ForgetPrefixes(_Message, frozen=True, tag="forget"):
    """Keep nothing more of sequences that are over, in memory and in files. From a console to the leader's
    agent, and from there to rank 0."""


AgentToChild = (
    Join | Wake | Pressure | BlocksElsewhere | Brought | Quit | ForgetPrefixes | StepCount | MemoryUsed
)
ChildToAgent = (
    RankChanged
    | StepCount
    | MemoryUsed
    | MemoryPressure
    | RequestChanged
    | WakeAll
    | Fingerprints
    | Bring
    | Unwanted
    | Say
    | Fatal
    | GatewayReady
)


# console -> agent ---------------------------------------------------------------------------------
class Attach(_Message, frozen=True, tag="attach"):
    """First line. Events with ``seq > after`` follow, then live ones. ``after`` counts only for the same
    ``run_id``; another run is replayed from its start."""

    after: int = 0
    run_id: str = ""
    protocol: int = PROTOCOL


class StopRing(_Message, frozen=True, tag="stop"):
    """End ranks, gateway and agents of the whole ring (leader) or of this host (others)."""


ConsoleToAgent = Attach | StopRing | ForgetPrefixes


# agent -> console ---------------------------------------------------------------------------------
class Welcome(_Message, frozen=True, tag="welcome"):
    """``running`` False: there is no agent, the journal of the last run follows and then the end."""

    host: str
    rank: int
    ring: str
    run_id: str
    version: str
    running: bool
    last_seq: int
    protocol: int = PROTOCOL


class Happened(_Message, frozen=True, tag="event"):
    record: Recorded


AgentToConsole = Welcome | Happened

encoder = msgspec.json.Encoder()
agent_to_child = msgspec.json.Decoder(AgentToChild)
child_to_agent = msgspec.json.Decoder(ChildToAgent)
console_to_agent = msgspec.json.Decoder(ConsoleToAgent)
agent_to_console = msgspec.json.Decoder(AgentToConsole)


def line(message: Struct) -> bytes:
    """One message as one line."""
    return encoder.encode(message) + b"\n"
