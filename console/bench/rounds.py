"""One round: some requests at once, and what their times say about the ring.

Rates are those of the whole ring. The decode rate is taken while every request is decoding: from the
last first token to the first end. A request that ends early (at an end token) is not topped up: the round
has a shorter window then, and says over how many tokens it was taken.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

from msgspec import Struct

from console.bench.completions import Answer, Completions
from console.bench.statistics import gaps

_T = TypeVar("_T")


class Round(Struct, frozen=True, kw_only=True):
    """Times in seconds, rates in tokens a second. ``decode_rate`` None: the answers never ran together."""

    prompt_rate: float
    decode_rate: float | None
    window_tokens: float
    first_token: tuple[float, ...]
    gaps: tuple[float, ...]
    tokens: int
    ended_early: int
    seconds: float


async def play(api: Completions, prompts: Sequence[Sequence[int]], tokens: int) -> Round:
    """Ask all ``prompts`` at once for ``tokens`` tokens each. Raises `ApiError`; then, and when it is
    cancelled, no request of it goes on."""
    return judge(await together([api.ask(prompt, tokens) for prompt in prompts]), tokens)


def judge(answers: Sequence[Answer], asked: int) -> Round:
    """What ``answers``, which were asked for together, say. ``asked``: tokens that each might have."""
    began = min(answer.began for answer in answers)
    start = max(answer.first for answer in answers)
    end = min(answer.ended for answer in answers)
    within = sum(answer.tokens_within(start, end) for answer in answers)
    return Round(
        prompt_rate=sum(answer.prompt_tokens for answer in answers) / max(start - began, 1e-9),
        decode_rate=within / (end - start) if end > start and within else None,
        window_tokens=within,
        first_token=tuple(answer.first - answer.began for answer in answers),
        gaps=tuple(gap for answer in answers for gap in gaps(answer.arrivals, start, end)),
        tokens=sum(answer.tokens for answer in answers),
        ended_early=sum(answer.tokens < asked for answer in answers),
        seconds=max(answer.ended for answer in answers) - began,
    )


async def together(acts: Sequence[Coroutine[None, None, _T]]) -> list[_T]:
    """All results, in order. The first error ends all; so does being cancelled, and none is left running."""
    tasks = [asyncio.ensure_future(act) for act in acts]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
