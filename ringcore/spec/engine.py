"""Messages between gateway and rank 0: JSON lines over ``engine.sock`` (the gateway listens, 0600).

Rank 0 connects when its link is open. Token ids only: text and templates are the gateway's.
"""

from typing import Literal

import msgspec
from msgspec import Struct

FinishReason = Literal["stop", "length", "cancelled"]


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``temperature`` 0 is greedy. ``seed`` None means: the engine draws one."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None


class _Message(Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class Submit(_Message, frozen=True, tag="submit"):
    """``stop_tokens`` end the answer and are not sent back as tokens."""

    id: str
    prompt: list[int]
    max_tokens: int
    stop_tokens: list[int]
    sampling: Sampling = Sampling()


class Cancel(_Message, frozen=True, tag="cancel"):
    """Answered by `Finished` with reason ``cancelled`` once no rank holds anything of it."""

    id: str


class Ready(_Message, frozen=True, tag="ready"):
    """Rank 0's first message. ``context`` in tokens (prompt and answer together)."""

    epoch: int
    context: int
    sequences: int
    vocab_size: int


class Started(_Message, frozen=True, tag="started"):
    """The first prefill chunk of this request went onto the ring."""

    id: str


class Token(_Message, frozen=True, tag="token"):
    """``index`` counts the answer's tokens from 0."""

    id: str
    index: int
    token: int


class Finished(_Message, frozen=True, tag="finished"):
    id: str
    reason: FinishReason
    completion_tokens: int


class Refused(_Message, frozen=True, tag="refused"):
    """Nothing ran. ``cause`` carries the numbers (asked, allowed). ``limit``: it can never run here, the
    client hears 400; ``busy``: the queue is full, the client hears 429 and may come again."""

    id: str
    cause: str
    kind: Literal["limit", "busy"] = "limit"


GatewayToEngine = Submit | Cancel
EngineToGateway = Ready | Started | Token | Finished | Refused

encoder = msgspec.json.Encoder()
gateway_to_engine = msgspec.json.Decoder(GatewayToEngine)
engine_to_gateway = msgspec.json.Decoder(EngineToGateway)
