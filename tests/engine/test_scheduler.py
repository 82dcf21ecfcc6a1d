"""The choice of the next step, as properties over any situation and over whole histories."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine.scheduler import Bounds, Choice, Running, Situation, next_step

BOUNDS = Bounds(stages=3, sequences=4, chunk=8, max_prompt_tokens=30)

bounds = st.builds(
    Bounds,
    stages=st.integers(1, 8),
    sequences=st.integers(1, 6),
    chunk=st.integers(1, 40),
    max_prompt_tokens=st.integers(1, 100),
    lookahead=st.integers(1, 2),
)


@st.composite
def situations(draw: st.DrawFn, sequences: int = 6) -> Situation:
    count = draw(st.integers(0, sequences))
    running = []
    for slot in range(count):
        prompt_left = draw(st.sampled_from([0, 0, 1, 7, 100]))
        ready = prompt_left == 0 and draw(st.booleans())
        running.append(
            Running(slot=slot, prompt_left=prompt_left, ready=ready, waited=draw(st.integers(0, 50)))
        )
    return Situation(
        queued=draw(st.integers(0, 3)),
        running=tuple(running),
        decode_in_flight=draw(st.integers(0, 16)),
        prefill_in_flight=draw(st.integers(0, 16)),
        prompt_tokens_in_flight=draw(st.integers(0, 100)),
        last=draw(st.sampled_from(["prefill", "decode"])),
    )


def waiting(*lefts: int, ready: bool = False) -> tuple[Running, ...]:
    return tuple(
        Running(slot=slot, prompt_left=left, ready=ready and not left) for slot, left in enumerate(lefts)
    )


@given(situations(), bounds)
def test_no_choice_passes_a_bound(now: Situation, limits: Bounds) -> None:
    choice = next_step(now, limits)
    if choice is None:
        return
    if choice.kind == "open":
        assert now.queued
        assert len(now.running) < limits.sequences
        return
    chosen = next(sequence for sequence in now.running if sequence.slot == choice.slot)
    if choice.kind == "decode":
        assert chosen.ready
        assert choice.count == 1
        assert now.decode_in_flight < limits.stages * limits.lookahead
        return
    assert 0 < choice.count <= min(chosen.prompt_left, limits.chunk, limits.max_prompt_tokens)
    assert now.prefill_in_flight < 2 * limits.stages
    in_flight = now.prompt_tokens_in_flight
    assert not in_flight or in_flight + choice.count <= limits.max_prompt_tokens


@given(situations(), bounds)
def test_with_nothing_in_flight_whatever_can_run_runs(now: Situation, limits: Bounds) -> None:
    now = Situation(queued=now.queued, running=now.running, last=now.last)
    work = now.queued and len(now.running) < limits.sequences
    work = work or any(sequence.ready or sequence.prompt_left for sequence in now.running)
    assert (next_step(now, limits) is not None) == bool(work)


@given(situations(), bounds)
def test_of_two_prompts_the_older_is_read_first(now: Situation, limits: Bounds) -> None:
    choice = next_step(now, limits)
    if choice and choice.kind == "prefill":
        oldest = next(sequence for sequence in now.running if sequence.prompt_left)
        assert choice.slot == oldest.slot


@given(situations(), bounds)
def test_of_those_that_are_ready_the_one_that_waited_longest_goes(now: Situation, limits: Bounds) -> None:
    choice = next_step(now, limits)
    if choice and choice.kind == "decode":
        chosen = next(sequence for sequence in now.running if sequence.slot == choice.slot)
        assert chosen.waited == min(sequence.waited for sequence in now.running if sequence.ready)


@given(situations(), bounds)
def test_after_one_kind_the_other_goes_when_it_can(now: Situation, limits: Bounds) -> None:
    choice = next_step(now, limits)
    if not choice or choice.kind != now.last:
        return
    if choice.kind == "prefill":
        running = tuple(structs.replace(sequence, prompt_left=0) for sequence in now.running)
        others = structs.replace(now, running=running)
    else:
        running = tuple(structs.replace(sequence, ready=False) for sequence in now.running)
        # At least one decode in flight: an answer still runs.
        others = structs.replace(now, running=running, decode_in_flight=max(1, now.decode_in_flight))
    assert next_step(others, limits) is None, "the other kind could have gone"


def test_prefill_and_decode_take_turns() -> None:
    running = waiting(0, 50, ready=True)
    kinds = [
        next_step(Situation(queued=0, running=running, last=last), BOUNDS) for last in ("prefill", "decode")
    ]
    assert [choice and choice.kind for choice in kinds] == ["decode", "prefill"]


def test_chunks_of_a_prompt_follow_each_other_until_the_pipe_is_full() -> None:
    for in_flight in range(6):
        now = Situation(queued=0, running=waiting(50), prefill_in_flight=in_flight)
        assert next_step(now, BOUNDS) == Choice("prefill", 0, 8)
    assert next_step(Situation(queued=0, running=waiting(50), prefill_in_flight=6), BOUNDS) is None


def test_while_an_answer_runs_fewer_chunks_are_ahead_of_its_next_token() -> None:
    now = Situation(queued=0, running=waiting(0, 50), decode_in_flight=1, prefill_in_flight=3)
    assert next_step(now, BOUNDS) is None


def test_the_wrap_links_bound_holds_back_a_chunk_and_cuts_one_that_alone_is_too_long() -> None:
    now = Situation(queued=0, running=waiting(50), prefill_in_flight=1, prompt_tokens_in_flight=25)
    assert next_step(now, BOUNDS) is None
    narrow = Bounds(stages=3, sequences=4, chunk=8, max_prompt_tokens=5)
    assert next_step(Situation(queued=0, running=waiting(50)), narrow) == Choice("prefill", 0, 5)


def test_a_free_slot_is_filled_before_anything_else() -> None:
    assert next_step(Situation(queued=1, running=waiting(50, 0, ready=True)), BOUNDS) == Choice("open")


def test_a_ring_without_a_free_slot_lets_the_queue_wait() -> None:
    now = Situation(queued=3, running=waiting(0, 0, 0, 9))
    assert next_step(now, BOUNDS) == Choice("prefill", 3, 8)
