"""The choice of the next step, as properties over any situation and over whole histories."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine.scheduler import Bounds, Choice, Group, Prompt, Situation, next_step

BOUNDS = Bounds(stages=3, sequences=4, chunk=8, max_prompt_tokens=30, least_chunk=8)

bounds = st.builds(
    Bounds,
    stages=st.integers(1, 8),
    sequences=st.integers(1, 6),
    chunk=st.integers(1, 40),
    max_prompt_tokens=st.integers(1, 100),
    least_chunk=st.integers(1, 40),
    lookahead=st.integers(1, 2),
    rows=st.integers(1, 4),
    step_tokens=st.integers(0, 20),
)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    prompts: list[Prompt] = []
    for slot in range(draw(st.integers(0, 3))):
        total = draw(st.integers(1, 200))
        until = draw(st.one_of(st.just(0), st.integers(1, 60)))
        prompts.append(Prompt(slot, draw(st.integers(1, total)), total, until))
    groups: list[Group] = []
    at = len(prompts)
    for _ in range(draw(st.integers(0, 3))):
        size = draw(st.integers(1, 3))
        groups.append(Group(tuple(range(at, at + size)), draw(st.booleans()), draw(st.integers(0, 50))))
        at += size
    return Situation(
        queued=draw(st.integers(0, 3)),
        running=at,
        prompts=tuple(prompts),
        groups=tuple(groups),
        decode_in_flight=draw(st.integers(0, 16)),
        prefill_in_flight=draw(st.integers(0, 16)),
        prompt_tokens_in_flight=draw(st.integers(0, 100)),
        decoded=draw(st.integers(0, 5)),
        answering_chunk=draw(st.integers(1, 50)),
    )


def prompts(*lefts: int) -> tuple[Prompt, ...]:
    return tuple(Prompt(slot, left, left) for slot, left in enumerate(lefts))


def group(*slots: int, ready: bool = True, waited: int = 0) -> Group:
    return Group(slots, ready, waited)


@given(situations(), bounds)
def test_no_choice_passes_a_bound(now: Situation, limits: Bounds) -> None:
    choice = next_step(now, limits)
    if choice is None:
        return
    if choice.kind == "open":
        assert now.queued
        assert now.running < limits.sequences
        return
    if choice.kind == "decode":
        chosen = next(each for each in now.groups if each.slots == choice.slots)
        assert chosen.ready
        assert choice.count == 1
        assert now.decode_in_flight < limits.decode_in_flight
        return
    (slot,) = choice.slots
    prompt = next(each for each in now.prompts if each.slot == slot)
    assert 0 < choice.count <= min(prompt.left, limits.chunk, limits.max_prompt_tokens)
    assert not prompt.until or choice.count <= prompt.until
    assert now.prefill_in_flight < 2 * limits.stages
    in_flight = now.prompt_tokens_in_flight
    assert not in_flight or in_flight + choice.count <= limits.max_prompt_tokens
    if now.groups:
        assert choice.count <= (limits.step_tokens or now.answering_chunk)


@given(situations(), bounds)
def test_with_nothing_in_flight_whatever_can_run_runs(now: Situation, limits: Bounds) -> None:
    now = structs.replace(now, decode_in_flight=0, prefill_in_flight=0, prompt_tokens_in_flight=0)
    work = now.queued and now.running < limits.sequences
    work = work or now.prompts or any(each.ready for each in now.groups)
    # With nothing in flight no group waits for a step of its own.
    now = structs.replace(now, groups=tuple(structs.replace(each, ready=True) for each in now.groups))
    assert (next_step(now, limits) is not None) == bool(work or now.groups)


@given(situations(), bounds)
def test_of_two_prompts_the_older_is_read_first(now: Situation, limits: Bounds) -> None:
    choice = next_step(now, limits)
    if choice and choice.kind == "prefill":
        assert choice.slots == (now.prompts[0].slot,)


@given(situations(), bounds)
def test_of_the_groups_that_are_ready_the_one_that_waited_longest_goes(
    now: Situation, limits: Bounds
) -> None:
    choice = next_step(now, limits)
    if choice and choice.kind == "decode":
        chosen = next(each for each in now.groups if each.slots == choice.slots)
        assert chosen.waited == min(each.waited for each in now.groups if each.ready)


@given(situations(), bounds)
def test_after_a_chunk_every_group_decodes_once_unless_a_stage_would_be_idle(
    now: Situation, limits: Bounds
) -> None:
    choice = next_step(now, limits)
    if choice and choice.kind == "prefill" and now.decoded < len(now.groups):
        assert now.decode_in_flight + now.prefill_in_flight < limits.stages


@given(situations(), bounds)
def test_when_every_group_has_decoded_a_chunk_goes_before_they_do_again(
    now: Situation, limits: Bounds
) -> None:
    choice = next_step(now, limits)
    if choice and choice.kind == "decode" and now.decoded >= len(now.groups):
        busy = tuple(structs.replace(each, ready=False) for each in now.groups)
        assert next_step(structs.replace(now, groups=busy), limits) is None, "a chunk could have gone"


def history(limits: Bounds, prompt: int, answers: int, steps: int) -> list[str]:
    """What is issued while ``answers`` groups run and a prompt comes; every step comes round at once."""
    left, decoded, issued = prompt, 0, []
    for number in range(steps):
        groups = tuple(group(slot + 1, waited=number) for slot in range(answers))
        now = Situation(
            running=answers + 1,
            prompts=(Prompt(0, left, prompt),) if left else (),
            groups=groups,
            decode_in_flight=limits.stages,
            decoded=decoded,
            answering_chunk=5,
        )
        choice = next_step(now, limits)
        assert choice is not None
        issued.append(choice.kind)
        if choice.kind == "prefill":
            left, decoded = left - choice.count, 0
        else:
            decoded += 1
    return issued


def test_a_long_prompt_and_the_answers_beside_it_both_go_on() -> None:
    issued = history(BOUNDS, prompt=40, answers=3, steps=40)
    assert issued[:8] == ["decode"] * 3 + ["prefill"] + ["decode"] * 3 + ["prefill"]
    assert issued.count("prefill") == 8  # 40 tokens, 5 at a time


def test_chunks_of_a_prompt_follow_each_other_until_the_pipe_is_full() -> None:
    for in_flight in range(6):
        now = Situation(running=1, prompts=prompts(500), prefill_in_flight=in_flight)
        assert next_step(now, BOUNDS) == Choice("prefill", (0,), 8)
    full = Situation(running=1, prompts=prompts(500), prefill_in_flight=6)
    assert next_step(full, BOUNDS) is None


def test_a_prompt_is_cut_into_enough_chunks_to_fill_the_pipe_but_not_into_crumbs() -> None:
    wide = structs.replace(BOUNDS, chunk=256, max_prompt_tokens=10_000, least_chunk=32)
    sizes = {}
    for total in (20, 100, 1024, 10_000):
        choice = next_step(Situation(running=1, prompts=prompts(total)), wide)
        assert choice is not None
        sizes[total] = choice.count
    assert sizes == {20: 20, 100: 32, 1024: 86, 10_000: 256}
    alone = structs.replace(wide, stages=1)
    assert next_step(Situation(running=1, prompts=prompts(1024)), alone) == Choice("prefill", (0,), 256)


def test_while_answers_run_fewer_and_shorter_chunks_are_ahead_of_their_next_tokens() -> None:
    now = Situation(running=2, prompts=(Prompt(0, 50, 50),), groups=(group(1),), decoded=1, answering_chunk=3)
    assert next_step(now, BOUNDS) == Choice("prefill", (0,), 3)
    assert next_step(structs.replace(now, prefill_in_flight=3), BOUNDS) == Choice("decode", (1,), 1)


def test_a_step_budget_by_hand_takes_the_place_of_the_pace() -> None:
    now = Situation(running=2, prompts=(Prompt(0, 50, 50),), groups=(group(1),), decoded=1, answering_chunk=3)
    assert next_step(now, structs.replace(BOUNDS, step_tokens=6)) == Choice("prefill", (0,), 6)
    alone = Situation(running=1, prompts=prompts(500))
    assert next_step(alone, structs.replace(BOUNDS, step_tokens=6)) == Choice("prefill", (0,), 8)


def test_the_wrap_links_bound_holds_back_a_chunk_and_cuts_one_that_alone_is_too_long() -> None:
    now = Situation(running=1, prompts=prompts(500), prefill_in_flight=1, prompt_tokens_in_flight=25)
    assert next_step(now, BOUNDS) is None
    narrow = structs.replace(BOUNDS, max_prompt_tokens=5)
    assert next_step(Situation(running=1, prompts=prompts(500)), narrow) == Choice("prefill", (0,), 5)


def test_a_free_slot_is_filled_before_anything_else() -> None:
    now = Situation(queued=1, running=2, prompts=prompts(50), groups=(group(1),))
    assert next_step(now, BOUNDS) == Choice("open")


def test_a_ring_without_a_free_slot_lets_the_queue_wait() -> None:
    now = Situation(queued=3, running=4, prompts=(Prompt(3, 9, 9),))
    assert next_step(now, BOUNDS) == Choice("prefill", (3,), 8)


def test_every_stage_has_its_next_step_waiting() -> None:
    groups = tuple(group(slot) for slot in range(8))
    for in_flight in range(6):
        choice = next_step(Situation(running=8, groups=groups, decode_in_flight=in_flight), BOUNDS)
        assert choice and choice.kind == "decode"
    assert next_step(Situation(running=8, groups=groups, decode_in_flight=6), BOUNDS) is None


def test_chunks_up_to_an_end_that_they_may_not_cross_are_as_long_as_each_other() -> None:
    limits = structs.replace(BOUNDS, stages=1, chunk=100, max_prompt_tokens=1000)
    sizes: list[int] = []
    until = 256
    while until:
        choice = next_step(Situation(running=1, prompts=(Prompt(0, 900, 900, until),)), limits)
        assert choice is not None
        sizes.append(choice.count)
        until -= choice.count
    assert sizes == [86, 85, 85]
