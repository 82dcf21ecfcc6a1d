"""What an OPEN step tells the last stage of a sequence: how to draw, with a seed, and the prompt's end.

In order "forward" the last stage never sees the prompt's ids, so what its penalties need of them
travels here. Knows nothing of arrays.
"""

import random

import msgspec
from msgspec import structs

from ringcore.spec.engine import Sampling, Submit

MAX_OPEN_BYTES = 16 << 10  # 300 biases of 38 bytes and a tail of 256 ids of 11 stay below
_ID_BYTES = 11
_MORE_BYTES = 64  # a seed and the names of tail and stops


class Opening(Sampling, frozen=True, kw_only=True, omit_defaults=True):
    """``seed`` is set. ``tail``: the last tokens of the prompt that the repetition penalty looks at.
    ``stops``: the tokens that end the answer, where a grammar must know them."""

    tail: tuple[int, ...] = ()
    stops: tuple[int, ...] = ()


def make_opening(request: Submit) -> Opening:
    """A seed is drawn where the request gives none."""
    sampling = request.sampling
    values = structs.asdict(sampling)
    if sampling.seed is None:
        values["seed"] = random.getrandbits(48)
    if sampling.repetition_penalty != 1:
        values["tail"] = tuple(request.prompt[-sampling.repetition_context :])
    if sampling.grammar:
        values["stops"] = tuple(request.stop_tokens)
    return Opening(**values)


def encode(opening: Opening) -> bytes:
    """JSON, at most `most_bytes` of the request's."""
    return msgspec.json.encode(opening)


def decode(payload: bytes) -> Opening:
    """Raises ``msgspec.MsgspecError``."""
    return msgspec.json.decode(payload, type=Opening)


def most_bytes(request: Submit) -> int:
    """What the encoded opening of ``request`` has at most. More than `MAX_OPEN_BYTES` is refused."""
    sampling = request.sampling
    tail = sampling.repetition_context if sampling.repetition_penalty != 1 else 0
    stops = len(request.stop_tokens) if sampling.grammar else 0
    return len(msgspec.json.encode(sampling)) + _MORE_BYTES + _ID_BYTES * (tail + stops)
