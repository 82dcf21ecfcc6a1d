"""Messages between gateway and rank 0: JSON lines over ``engine.sock`` (the gateway listens, 0600).

Rank 0 connects when its link is open. Token ids only: text and templates are the gateway's.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

FinishReason = Literal["stop", "length", "cancelled"]

MAX_BIASES = 300
MAX_TOP_LOGPROBS = 20
MAX_REPETITION_CONTEXT = 256
MAX_GRAMMAR_BYTES = 8 << 10

LogitBias = Annotated[
    dict[Annotated[int, Meta(ge=0, lt=2**31)], Annotated[float, Meta(ge=-100, le=100)]],
    Meta(max_length=MAX_BIASES),
]


class Sampling(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the next token is drawn. The defaults ask for the likeliest one.

    ``temperature`` 0 is greedy. ``seed`` None means: the engine draws one. ``repetition_penalty`` looks at
    the last ``repetition_context`` tokens of prompt and answer, the presence and frequency penalties at
    all tokens of the answer. ``logit_bias`` is added to the logits of these ids. ``logprobs`` n: tell of
    each token how likely it was, beside the n likeliest; None: do not. ``grammar`` is llguidance's, which
    the answer follows, packed where it is long (`ringcore.spec.packed`); "" for none.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: Annotated[float, Meta(gt=0)] = 1.0
    repetition_context: Annotated[int, Meta(ge=1, le=MAX_REPETITION_CONTEXT)] = 20
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: LogitBias = {}
    logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    grammar: Annotated[str, Meta(max_length=MAX_GRAMMAR_BYTES)] = ""


class Logprobs(Struct, frozen=True, array_like=True):
    """Natural logarithms of the model's own probabilities at one place of the answer: before penalties,
    bias, temperature and filters. ``drawn`` is that of the token that was drawn, ``top`` has the
    likeliest (id, logarithm), likeliest first."""

    drawn: float
    top: tuple[tuple[int, float], ...] = ()


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
    """The first prefill chunk of this request went onto the ring. ``cached_tokens`` of its prompt need not be
    computed: the ring had kept them."""

    id: str
    cached_tokens: int = 0


class Read(_Message, frozen=True, tag="read"):
    """``tokens`` of this request's prompt are computed, cached ones among them, and more are to come."""

    id: str
    tokens: int


class Token(_Message, frozen=True, tag="token"):
    """``index`` counts the answer's tokens from 0. ``logprobs`` is there when the request asked for it."""

    id: str
    index: int
    token: int
    logprobs: Logprobs | None = None


class Finished(_Message, frozen=True, tag="finished"):
    id: str
    reason: FinishReason
    completion_tokens: int


class Refused(_Message, frozen=True, tag="refused"):
    """Nothing of it runs. ``cause`` carries the numbers (asked, allowed). ``limit``: it can never run here,
    the client hears 400; ``busy``: the queue is full, the client hears 429 and may come again; ``memory``: a
    rank is short of memory, the client hears 503 and may come again. That may come for a running one too."""

    id: str
    cause: str
    kind: Literal["limit", "busy", "memory"] = "limit"


GatewayToEngine = Submit | Cancel
EngineToGateway = Ready | Started | Read | Token | Finished | Refused

encoder = msgspec.json.Encoder()
gateway_to_engine = msgspec.json.Decoder(GatewayToEngine)
engine_to_gateway = msgspec.json.Decoder(EngineToGateway)
