"""What a request may ask of the ring, and the words of a refusal, with the numbers."""

from msgspec import Struct

from ringcore.engine.opening import MAX_OPEN_BYTES, most_bytes
from ringcore.engine.scheduler import Bounds
from ringcore.spec.engine import Submit

MAX_QUEUE = 64


class Keeping(Struct, frozen=True, kw_only=True):
    """Of sequences that are over at most ``blocks`` of ``block_tokens`` are kept, whose names hang on
    ``root`` (`ringcore.engine.prefix`).

    ``at_once``: caches forget older tokens, so a block is stored by the step behind the one that completes
    it; else with the prompt's last chunk, and at the end. ``at_ends``: caches hold a state, which is a
    block's only at its very end, so no chunk of a prompt goes across one.
    """

    blocks: int = 0
    block_tokens: int = 64
    root: bytes = b""
    at_once: bool = False
    at_ends: bool = False


class Limits(Struct, frozen=True, kw_only=True):
    """``context`` in tokens, prompt and answer together. ``in_flight``: steps of any kind that may be on
    the ring at once. ``queue``: requests that may wait for a slot. ``prefix``: what is kept of
    sequences that are over."""

    context: int
    vocab_size: int
    bounds: Bounds
    in_flight: int
    queue: int = MAX_QUEUE
    prefix: Keeping = Keeping()


def refusal(request: Submit, limits: Limits) -> str:
    """Why ``request`` can never run here; "" when it can."""
    prompt, allowed = len(request.prompt), limits.context
    if not prompt:
        return "the prompt is empty: at least 1 token is needed"
    if request.max_tokens < 0:
        return f"max_tokens is {request.max_tokens}: at least 0 is needed"
    if prompt + request.max_tokens > allowed:
        return (
            f"prompt of {prompt} tokens and answer of {request.max_tokens} make "
            f"{prompt + request.max_tokens} tokens; the ring's context is {allowed}"
        )
    named = (*request.prompt, *request.sampling.logit_bias)
    wrong = next((t for t in named if not 0 <= t < limits.vocab_size), None)
    if wrong is not None:
        return f"token id {wrong} is outside the vocabulary of {limits.vocab_size}"
    if (size := most_bytes(request)) > MAX_OPEN_BYTES:
        return (
            f"biases and grammar of the request take {size} bytes on the ring, {MAX_OPEN_BYTES} are allowed"
        )
    return ""
