"""What agents say to each other: members to the leader's agent and back, JSON, one a line.

Framing and authentication is `peer_link`'s.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from ringcore.spec.block_file import BlockFile
from ringcore.spec.control import Fingerprints
from ringcore.spec.errors import Failure
from ringcore.spec.events import MemoryPressure, MemoryUsed, RankChanged, StepCount

MAX_PIECE = 512 << 10
MOST_NAMES = 8192  # in one message, which is a line


class _Message(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class Beat(_Message, frozen=True, tag="beat"):
    """Still here. Sent every second, both ways."""


# member -> leader ---------------------------------------------------------------------------------
class Present(_Message, frozen=True, tag="present"):
    """The first message after the handshake."""

    rank: int
    run_id: str
    digest: str
    version: str
    blocks: bool = False  # one more connection of a member that is here, for files of blocks


class RankSaid(_Message, frozen=True, tag="said"):
    """What the member's rank told its agent of its phase, its steps or its memory."""

    event: RankChanged | StepCount | MemoryUsed | MemoryPressure


class RankHolds(_Message, frozen=True, tag="holds"):
    """What tells the weights of the member's rank from all others."""

    fingerprints: Fingerprints


class RankFailed(_Message, frozen=True, tag="failed"):
    """The member's rank has ended, or must be ended, for this reason."""

    failure: Failure


class BlocksHere(_Message, frozen=True, tag="blocks"):
    """Files of the prefix cache on the member's host, `MOST_NAMES` at most; ``more`` follow."""

    files: tuple[BlockFile, ...]
    more: bool = False


class Gone(_Message, frozen=True, tag="gone"):
    """The member's rank has ended as it was told to; the member ends next."""


# leader -> member ---------------------------------------------------------------------------------
class StartRank(_Message, frozen=True, tag="start"):
    epoch: int


class JoinRank(_Message, frozen=True, tag="join"):
    """Every rank has loaded: open the links now. ``root``: see `ringcore.spec.root`."""

    root: str = ""


class WakeRank(_Message, frozen=True, tag="wake"):
    """The leader's rank puts a step on the parked ring."""


class OpenBlocks(_Message, frozen=True, tag="open_blocks"):
    """Connect once more, for files of blocks."""


class EndRank(_Message, frozen=True, tag="end"):
    """The ring ends. ``failure`` is why, None when the operator wanted it."""

    failure: Failure | None = None


# on a connection for files of blocks --------------------------------------------------------------
class GiveFile(_Message, frozen=True, tag="give"):
    """To a member: its pieces, then `FileDone`."""

    file: BlockFile


class TakeFile(_Message, frozen=True, tag="take"):
    """To a member: pieces and `FileDone` follow; answered by `FileDone` when it is on the member's disk."""

    file: BlockFile


class Piece(_Message, frozen=True, tag="piece"):
    """So many bytes follow, as they are."""

    size: Annotated[int, Meta(ge=1, le=MAX_PIECE)]


class FileDone(_Message, frozen=True, tag="file_done"):
    """``cause``: why it is not; "" when it is."""

    cause: str = ""


FromMember = (
    Beat | Present | RankSaid | RankHolds | RankFailed | BlocksHere | Gone | Piece | FileDone
)  # fmt: skip
FromLeader = (
    Beat | StartRank | JoinRank | WakeRank | OpenBlocks | EndRank | GiveFile | TakeFile | Piece | FileDone
)

encoder = msgspec.json.Encoder()
from_member = msgspec.json.Decoder(FromMember)
from_leader = msgspec.json.Decoder(FromLeader)
