"""Chooses the next step from plain values: `next_step(situation, bounds) -> Choice | None`. Pure.

Rules, in this order:

1. the oldest queued request gets a free slot while fewer than ``sequences`` run (first come, first
   served; a later request never overtakes);
2. decode: of the groups of sequences that answer (`ringcore.engine.groups`) the ready one that has
   waited longest; at most `Bounds.decode_in_flight` steps in flight, so that every stage has its next
   step waiting and no token waits behind more;
3. prefill: the next chunk of the oldest prompt that is not all issued, at most ``2 * stages`` chunks in
   flight. Chunks of one prompt follow each other down the pipe, so a prompt is cut into at least
   `_PARTS` chunks a stage where they do not get too short for that;
4. while answers run, a chunk has at most ``answering_chunk`` tokens (`ringcore.engine.pace`), and after
   a chunk every group decodes once before the next, unless a stage would have nothing to do. So a long
   prompt slows running answers by a bounded factor and never stops them, nor they it;
5. a chunk ends where a block of a sequence's tokens does, in models whose caches ask for that;
6. the tokens of all prefill chunks in flight, and what OPEN steps carry, stay under
   ``max_prompt_tokens`` (the bound that the wrap link needs, see `ringcore.rank.link`).

Knows nothing of requests' texts, of links or of arrays.
"""

from typing import Literal

from msgspec import Struct

Kind = Literal["open", "prefill", "decode"]
_PARTS = 4  # chunks a stage: a pipe of N stages is idle for N - 1 of the chunks it takes


class Prompt(Struct, frozen=True):
    """A sequence whose prompt of ``total`` tokens has ``left`` that are not issued yet. No chunk may go
    across the end of the next ``until`` tokens; 0: any may be."""

    slot: int
    left: int
    total: int
    until: int = 0


class Group(Struct, frozen=True):
    """Sequences that decode together. ``waited`` is the number of the last step of any of them (smaller:
    waited longer)."""

    slots: tuple[int, ...]
    ready: bool
    waited: int = 0


class Bounds(Struct, frozen=True, kw_only=True):
    """Chunks and ``max_prompt_tokens`` in tokens. ``lookahead``: decode steps of one group that may be in
    flight (2 where the last tokens need not leave the device to be fed back). ``rows``: sequences that
    may decode in one step. ``step_tokens``: of a chunk beside answers, 0 where their pace decides."""

    stages: int
    sequences: int
    chunk: int
    max_prompt_tokens: int
    least_chunk: int = 1
    lookahead: int = 1
    rows: int = 1
    step_tokens: int = 0

    @property
    def groups(self) -> int:
        """Groups to aim at: as few as keep every stage at work, since a step reads all weights of a stage
        however many rows it has."""
        return self.stages

    @property
    def decode_in_flight(self) -> int:
        return self.lookahead if self.stages == 1 else 2 * self.stages


class Situation(Struct, frozen=True, kw_only=True):
    """``prompts`` in order of arrival. ``running`` counts sequences in slots. ``decoded`` counts the decode
    steps issued since the last chunk."""

    queued: int = 0
    running: int = 0
    prompts: tuple[Prompt, ...] = ()
    groups: tuple[Group, ...] = ()
    decode_in_flight: int = 0
    prefill_in_flight: int = 0
    prompt_tokens_in_flight: int = 0
    decoded: int = 0
    answering_chunk: int = 1


class Choice(Struct, frozen=True):
    """``slots`` are empty for ``open``; ``count`` are the tokens of each row."""

    kind: Kind
    slots: tuple[int, ...] = ()
    count: int = 0


def next_step(now: Situation, bounds: Bounds) -> Choice | None:
    """The step to issue next, or None when nothing may be issued before an answer comes back."""
    if now.queued and now.running < bounds.sequences:
        return Choice("open")
    if now.groups and not _chunk_is_due(now, bounds):
        return _decode(now, bounds)
    return _prefill(now, bounds) or _decode(now, bounds)


def chunks_in_flight(stages: int) -> int:
    """The most chunks of prompts that are on the ring at once."""
    return 2 * stages


def _chunk_is_due(now: Situation, bounds: Bounds) -> bool:
    return now.decoded >= len(now.groups) or now.decode_in_flight + now.prefill_in_flight < min(
        bounds.stages, len(now.groups) + 1
    )


def _decode(now: Situation, bounds: Bounds) -> Choice | None:
    ready = [group for group in now.groups if group.ready]
    if not ready or now.decode_in_flight >= bounds.decode_in_flight:
        return None
    longest = min(ready, key=lambda group: group.waited)
    return Choice("decode", longest.slots, 1)


def _prefill(now: Situation, bounds: Bounds) -> Choice | None:
    if not now.prompts:
        return None
    oldest = now.prompts[0]
    if now.prefill_in_flight >= (bounds.stages if now.groups else chunks_in_flight(bounds.stages)):
        return None
    count = min(oldest.left, _chunk(oldest, bounds), bounds.max_prompt_tokens)
    if now.groups:
        count = min(count, bounds.step_tokens or max(1, now.answering_chunk))
    if now.prompt_tokens_in_flight and now.prompt_tokens_in_flight + count > bounds.max_prompt_tokens:
        return None
    return Choice("prefill", (oldest.slot,), count)


def _chunk(prompt: Prompt, bounds: Bounds) -> int:
    """Tokens of a chunk when nobody waits."""
    chunk = bounds.chunk
    if bounds.stages > 1:
        chunk = min(chunk, max(bounds.least_chunk, -(-prompt.total // (_PARTS * bounds.stages))))
    if not prompt.until:
        return chunk
    span = min(prompt.until, prompt.left)
    parts = -(-span // chunk)  # equal ones: a short rest would cost as much as they do
    return -(-span // parts)
