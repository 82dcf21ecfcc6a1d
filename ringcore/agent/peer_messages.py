"""What agents say to each other: members to the leader's agent and back, JSON, one a line.

Framing and authentication is `peer_link`'s.
"""

import msgspec
from msgspec import Struct

from ringcore.spec.errors import Failure
from ringcore.spec.events import MemoryPressure, MemoryUsed, RankChanged, StepCount


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


class RankSaid(_Message, frozen=True, tag="said"):
    """What the member's rank told its agent of its phase, its steps or its memory."""

    event: RankChanged | StepCount | MemoryUsed | MemoryPressure


class RankFailed(_Message, frozen=True, tag="failed"):
    """The member's rank has ended, or must be ended, for this reason."""

    failure: Failure


class Gone(_Message, frozen=True, tag="gone"):
    """The member's rank has ended as it was told to; the member ends next."""


# leader -> member ---------------------------------------------------------------------------------
class StartRank(_Message, frozen=True, tag="start"):
    epoch: int


class JoinRank(_Message, frozen=True, tag="join"):
    """Every rank has loaded: open the links now."""


class WakeRank(_Message, frozen=True, tag="wake"):
    """The leader's rank puts a step on the parked ring."""


class EndRank(_Message, frozen=True, tag="end"):
    """The ring ends. ``failure`` is why, None when the operator wanted it."""

    failure: Failure | None = None


FromMember = Beat | Present | RankSaid | RankFailed | Gone
FromLeader = Beat | StartRank | JoinRank | WakeRank | EndRank

encoder = msgspec.json.Encoder()
from_member = msgspec.json.Decoder(FromMember)
from_leader = msgspec.json.Decoder(FromLeader)
