"""The life of requests on rank 0: queue, slots, what is in flight, and the messages that come of it.

`Engine` is told of submits, cancels and acknowledged steps, says which step comes next, and returns
messages for the gateway. It knows nothing of sockets, links or arrays.
"""

from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Items

from ringcore.engine import logprobs, opening
from ringcore.engine.elsewhere import Elsewhere
from ringcore.engine.flights import Flights
from ringcore.engine.groups import Slots, regroup
from ringcore.engine.kept import Kept
from ringcore.engine.limits import Limits, refusal
from ringcore.engine.pace import Pace
from ringcore.engine.scheduler import Choice, Group, Prompt, Situation, next_step
from ringcore.engine.sequence import Sequence
from ringcore.engine.step import NO_TOKEN, Operation, Row, Step
from ringcore.spec.control import Bring, Brought, Unwanted
from ringcore.spec.engine import (
    EngineToGateway,
    Finished,
    FinishReason,
    Logprobs,
    Read,
    Refused,
    Started,
    Submit,
    Token,
)

_NO_GRAMMAR = (
    "the answer cannot follow the grammar of this format: it is too intricate, or the model's folder on the "
    "host of the last layers has no tokenizer.json that llguidance reads"
)


class Engine:
    """Every method that changes something returns the messages the gateway must get, in order.

    ``on_disk``: whether the leader's host has a block in a file. ``ask``: for blocks of other hosts. ``say``:
    to the log."""

    def __init__(
        self,
        limits: Limits,
        on_disk: Callable[[bytes], bool] = lambda _name: False,
        ask: Callable[[Bring | Unwanted], None] = lambda _order: None,
        say: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._limits = limits
        self._queue: deque[Submit] = deque()
        self._running: list[Sequence] = []  # in order of arrival
        self._elsewhere = Elsewhere(
            limits.prefix.block_tokens, on_disk, ask, say, lambda: self._pace.token_seconds
        )
        self._kept = Kept(limits.prefix, self._elsewhere)
        self._to_drop: deque[Sequence] = deque()
        self._flights = Flights(limits.bounds.max_prompt_tokens)
        self._free = deque(range(limits.bounds.sequences))
        self._groups: tuple[Slots, ...] = ()
        self._decoded = 0  # decode steps since the last chunk
        self._pace = Pace()
        self._held = ""
        self._paused = False

    @property
    def in_flight(self) -> int:
        """Steps issued and not acknowledged."""
        return len(self._flights)

    @property
    def idle(self) -> bool:
        """Nothing queued, running or on its way."""
        return not (self._queue or self._running or self._kept.asides or self._to_drop or self._flights)

    def submit(self, request: Submit) -> list[EngineToGateway]:
        """Queue the request, or say with the numbers why not."""
        cause = refusal(request, self._limits) or self._doubled(request)
        if cause:
            return [Refused(id=request.id, cause=cause)]
        if self._held:
            return [Refused(id=request.id, cause=self._held, kind="memory")]
        if len(self._queue) >= self._limits.queue:
            cause = f"the queue is full: {len(self._queue)} requests wait, {self._limits.queue} are allowed"
            return [Refused(id=request.id, cause=cause, kind="busy")]
        if request.max_tokens == 0:
            return [Started(id=request.id), Finished(id=request.id, reason="length", completion_tokens=0)]
        self._queue.append(request)
        return []

    def cancel(self, request_id: str) -> list[EngineToGateway]:
        """A queued request ends at once; a running one when its drop has come round. Unknown: nothing."""
        for request in self._queue:
            if request.id == request_id:
                self._queue.remove(request)
                return [Finished(id=request_id, reason="cancelled", completion_tokens=0)]
        for sequence in self._running:
            if sequence.request.id == request_id:
                self._end(sequence, "cancelled")
                break
        return []

    def hold(self, cause: str, *, pause: bool = False) -> list[EngineToGateway]:
        """Refuse what waits and what comes, with ``cause``; "" takes requests again. Prompts are read no
        further while answers run, with ``pause`` not at all."""
        self._held, self._paused = cause, pause
        if not cause:
            return []
        waiting = [Refused(id=request.id, cause=cause, kind="memory") for request in self._queue]
        self._queue.clear()
        return [*waiting]

    def forget(self, blocks: int) -> int:
        """Have up to ``blocks`` of earlier sequences go on all ranks, least recently used first; how many."""
        return self._kept.forget(blocks)

    def clear(self) -> None:
        """Nothing is kept of earlier sequences, in memory or in files, but what running ones use."""
        self._kept.clear()

    def elsewhere(self, blocks: Items[tuple[str, int]]) -> None:
        """These blocks lie in files of the ring's hosts, but not of each whose rank has layers of them."""
        self._elsewhere.there(blocks)

    def brought(self, answer: Brought) -> None:
        """The agents' answer to what was asked for."""
        self._kept.brought(answer)

    def shed(self, cause: str) -> list[EngineToGateway]:
        """End the youngest running request, whose client hears ``cause``."""
        if not self._running:
            return []
        sequence = self._running[-1]
        self._end(sequence, "cancelled")
        sequence.heard = False
        return [Refused(id=sequence.request.id, cause=cause, kind="memory")]

    def cancel_all(self) -> None:
        """The gateway is gone: nobody waits for the messages of what ran for it."""
        self._queue.clear()
        for sequence in tuple(self._running):
            self._end(sequence, "cancelled")
        for sequence in self._leaving():
            sequence.heard = False

    def next_step(self) -> tuple[Step | None, list[EngineToGateway]]:
        """The next step to put on the ring, already counted as in flight; None when none may go now."""
        if len(self._flights) >= self._limits.in_flight:
            return None, []
        if self._kept.asides:
            return self._aside(), []
        if self._to_drop:
            sequence = self._to_drop.popleft()
            return self._flights.put(Operation.DROP, None, (sequence,), (Row(sequence.slot),)), []
        choice = next_step(self._situation(), self._limits.bounds)
        if choice is None:
            return None, []
        if choice.kind == "open":
            return self._open(), []
        return self._run(choice)

    def control(self, operation: Operation) -> Step:
        """A step that belongs to no sequence (park, stop), counted as in flight."""
        return self._flights.put(operation)

    def acknowledge(self, step: Step) -> list[EngineToGateway]:
        """The oldest step in flight has come round; ``step.rows`` carry the tokens that were drawn, its
        payload their log-probabilities."""
        flight = self._flights.came(step)
        messages: list[EngineToGateway] = []
        seconds = step.microseconds / 1e6
        if seconds and flight.kind == "decode":
            self._pace.decoded(seconds)
        elif seconds and flight.kind == "prefill":
            self._pace.prefilled(step.token_count, seconds)
        if step.operation is Operation.RUN:
            asked = logprobs.unpack(step.payload, len(step.rows))
            for sequence, row, found in zip(flight.sequences, step.rows, asked, strict=True):
                if flight.kind == "decode":
                    sequence.decodes_in_flight -= 1
                if sequence.ended is not None:
                    continue
                if row.sample:
                    messages += self._drawn(sequence, row.token, found)
                else:
                    messages.append(Read(id=sequence.request.id, tokens=row.position + row.count))
        elif step.operation is Operation.FETCH:
            self._kept.fetched(step.rows[0])
        elif step.operation is Operation.DROP:
            for sequence in flight.sequences:
                self._free.append(sequence.slot)
                messages += self._cancelled(sequence)
        return messages

    # inside --------------------------------------------------------------------------------------
    def _doubled(self, request: Submit) -> str:
        known = request.id in self._ids()
        return f"a request with the id {request.id!r} is already there" if known else ""

    def _ids(self) -> list[str]:
        leaving = [s.request.id for s in self._leaving() if s.heard]
        return [r.id for r in self._queue] + [s.request.id for s in self._running] + leaving

    def _leaving(self) -> list[Sequence]:
        """Those that ended by a cancel and whose drop has not come round."""
        on_ring = [s for f in self._flights if f.step.operation is Operation.DROP for s in f.sequences]
        return [s for s in (*self._to_drop, *on_ring) if s.ended == "cancelled"]

    def _situation(self) -> Situation:
        bounds = self._limits.bounds
        by_slot = {sequence.slot: sequence for sequence in self._running}
        answering = [sequence.slot for sequence in self._running if sequence.answering]
        self._groups = regroup(self._groups, answering, bounds.groups, bounds.rows)
        return Situation(
            # A slot is free only when its drop has come round.
            queued=len(self._queue) if self._free and self._may_open() else 0,
            running=len(self._running),
            prompts=()
            if self._paused or (self._held and answering)
            else tuple(
                Prompt(
                    sequence.slot,
                    sequence.prompt_left,
                    len(sequence.request.prompt) - sequence.cached,
                    self._kept.until(sequence),
                )
                for sequence in self._running
                if sequence.prompt_left
            ),
            groups=tuple(self._group([by_slot[slot] for slot in slots]) for slots in self._groups),
            decode_in_flight=self._flights.of_kind("decode"),
            prefill_in_flight=self._flights.of_kind("prefill"),
            prompt_tokens_in_flight=self._flights.prompt_tokens,
            decoded=self._decoded,
            answering_chunk=self._pace.chunk(len(self._groups)),
        )

    def _group(self, members: Items[Sequence]) -> Group:
        return Group(
            tuple(sequence.slot for sequence in members),
            all(sequence.decodes_in_flight < self._lookahead(sequence) for sequence in members),
            min(sequence.waited for sequence in members),
        )

    def _lookahead(self, sequence: Sequence) -> int:
        return 1 if self._kept.must_be_known(sequence) else self._limits.bounds.lookahead

    def _open(self) -> Step:
        request = self._queue.popleft()
        sequence = Sequence(request, self._free.popleft(), self._kept.chain(request.prompt))
        self._running.append(sequence)
        self._kept.begin(sequence)
        payload = opening.encode(opening.make_opening(request))
        return self._flights.put(Operation.OPEN, None, (sequence,), (Row(sequence.slot),), payload=payload)

    def _may_open(self) -> bool:
        """The next request's OPEN fits on the wrap link beside what is in flight."""
        if not self._queue:
            return False
        return self._flights.fits(opening.most_bytes(self._queue[0]))

    def _aside(self) -> Step | None:
        aside = self._kept.asides[0]
        if not self._flights.fits(len(aside.payload)):
            return None
        self._kept.asides.popleft()
        return self._flights.put(aside.operation, None, (), aside.rows, payload=aside.payload)

    def _run(self, choice: Choice) -> tuple[Step, list[EngineToGateway]]:
        by_slot = {sequence.slot: sequence for sequence in self._running}
        sequences = tuple(by_slot[slot] for slot in choice.slots)
        if choice.kind == "decode":
            self._decoded += 1
            return self._decode(sequences), []
        self._decoded = 0
        return self._prefill(sequences[0], choice.count)

    def _decode(self, sequences: tuple[Sequence, ...]) -> Step:
        rows: list[Row] = []
        for sequence in sequences:
            # With lookahead the token may still be on its way: the one stage there is knows it.
            token = sequence.last_token if self._limits.bounds.lookahead == 1 else NO_TOKEN
            rows.append(Row(sequence.slot, 1, sequence.fed, True, token))
            sequence.decodes_in_flight += 1
            sequence.fed += 1
        step = self._flights.put(Operation.RUN, "decode", sequences, tuple(rows))
        for sequence in sequences:
            sequence.waited = step.number
            self._kept.issued(sequence, 1)
        return step

    def _prefill(self, sequence: Sequence, count: int) -> tuple[Step, list[EngineToGateway]]:
        position = sequence.fed
        tokens = sequence.request.prompt[position : position + count]
        sample = count == sequence.prompt_left
        row = Row(sequence.slot, count, position, sample, tokens[0] if count == 1 else NO_TOKEN)
        sequence.fed += count
        step = self._flights.put(Operation.RUN, "prefill", (sequence,), (row,), tokens)
        sequence.waited = step.number
        self._kept.issued(sequence, count)
        if position > sequence.cached:
            return step, []
        return step, [Started(id=sequence.request.id, cached_tokens=sequence.cached)]

    def _drawn(self, sequence: Sequence, token: int, found: Logprobs | None) -> list[EngineToGateway]:
        if token >= 0:
            sequence.drawn.append(token)
        if token in sequence.stop_tokens:
            return self._end(sequence, "stop")
        if token < 0:
            self._end(sequence, "stop")
            return [Refused(id=sequence.request.id, cause=_NO_GRAMMAR)]
        message = Token(id=sequence.request.id, index=sequence.answer, token=token, logprobs=found)
        sequence.answer += 1
        sequence.last_token = token
        if sequence.answer >= sequence.request.max_tokens:
            return [message, *self._end(sequence, "length")]
        return [message]

    def _end(self, sequence: Sequence, reason: FinishReason) -> list[EngineToGateway]:
        """The sequence leaves; what it computed is kept, then its drop goes before any other step. A cancel
        is answered later."""
        sequence.ended = reason
        self._running.remove(sequence)
        self._kept.end(sequence)
        self._to_drop.append(sequence)
        if reason == "cancelled":
            return []
        return [Finished(id=sequence.request.id, reason=reason, completion_tokens=sequence.answer)]

    def _cancelled(self, sequence: Sequence) -> list[EngineToGateway]:
        if sequence.ended != "cancelled" or not sequence.heard:
            return []
        return [Finished(id=sequence.request.id, reason="cancelled", completion_tokens=sequence.answer)]
