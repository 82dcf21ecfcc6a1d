"""Chooses the next step from plain values: `next_step(situation) -> Choice | None`. Pure.

Rules, in this order:

1. the oldest queued request gets a free slot while fewer than ``sequences`` run (first come, first
   served; a later request never overtakes);
2. prefill and decode take turns: after a prefill chunk a decode step that is ready goes first, and
   the reverse, so neither starves the other;
3. decode: the ready sequence that has waited longest; at most ``stages * lookahead`` decode steps in
   flight, which keeps every stage at work and no token waiting behind more;
4. prefill: the next chunk of the oldest prompt that is not all issued. Chunks of one prompt follow
   each other down the pipe, at most ``2 * stages`` in flight, or ``stages`` while answers run, so
   that a token waits behind a bounded amount of prompt;
5. the tokens of all prefill chunks in flight stay under ``max_prompt_tokens`` (the bound that the
   wrap link needs, see `ringcore.rank.link`).

Knows nothing of requests' texts, of links or of arrays.
"""

from typing import Literal

from msgspec import Struct

Kind = Literal["open", "prefill", "decode"]


class Running(Struct, frozen=True, kw_only=True):
    """A sequence in a slot. ``prompt_left`` tokens are not issued yet. ``ready``: a decode step may
    be issued. ``waited`` is the number of the last step of this sequence (smaller: waited longer)."""

    slot: int
    prompt_left: int
    ready: bool
    waited: int = 0


class Bounds(Struct, frozen=True, kw_only=True):
    """``chunk`` and ``max_prompt_tokens`` in tokens. ``lookahead``: decode steps of one sequence that may
    be in flight (2 where the last token need not leave the device to be fed back)."""

    stages: int
    sequences: int
    chunk: int
    max_prompt_tokens: int
    lookahead: int = 1


class Situation(Struct, frozen=True, kw_only=True):
    """``running`` in order of arrival. ``last`` is the kind of the last step that was issued."""

    queued: int
    running: tuple[Running, ...]
    decode_in_flight: int = 0
    prefill_in_flight: int = 0
    prompt_tokens_in_flight: int = 0
    last: Kind = "decode"


class Choice(Struct, frozen=True):
    """``slot`` is meaningless for ``open``; ``count`` are the chunk's tokens."""

    kind: Kind
    slot: int = -1
    count: int = 0


def next_step(now: Situation, bounds: Bounds) -> Choice | None:
    """The step to issue next, or None when nothing may be issued before an answer comes back."""
    if now.queued and len(now.running) < bounds.sequences:
        return Choice("open")
    decode, prefill = _decode(now, bounds), _prefill(now, bounds)
    if now.last == "prefill":
        return decode or prefill
    return prefill or decode


def _decode(now: Situation, bounds: Bounds) -> Choice | None:
    ready = [sequence for sequence in now.running if sequence.ready]
    if not ready or now.decode_in_flight >= bounds.stages * bounds.lookahead:
        return None
    longest = min(ready, key=lambda sequence: sequence.waited)
    return Choice("decode", longest.slot, 1)


def _prefill(now: Situation, bounds: Bounds) -> Choice | None:
    oldest = next((sequence for sequence in now.running if sequence.prompt_left), None)
    if oldest is None:
        return None
    answering = now.decode_in_flight > 0 or any(sequence.ready for sequence in now.running)
    if now.prefill_in_flight >= (bounds.stages if answering else 2 * bounds.stages):
        return None
    count = min(oldest.prompt_left, bounds.chunk, bounds.max_prompt_tokens)
    if now.prompt_tokens_in_flight and now.prompt_tokens_in_flight + count > bounds.max_prompt_tokens:
        return None
    return Choice("prefill", oldest.slot, count)
