"""The life of requests, driven without a ring: steps come round in order with tokens of our choosing."""

import struct
from collections import deque

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine.engine import Engine
from ringcore.engine.limits import Limits
from ringcore.engine.logprobs import pack
from ringcore.engine.scheduler import Bounds
from ringcore.engine.step import NO_TOKEN, Operation, Step
from ringcore.spec.engine import (
    EngineToGateway,
    Finished,
    Logprobs,
    Read,
    Refused,
    Sampling,
    Started,
    Submit,
    Token,
)

VOCABULARY = 1000


def limits(
    *, stages: int = 3, sequences: int = 2, lookahead: int = 1, rows: int = 1, **changes: int
) -> Limits:
    bounds = Bounds(
        stages=stages,
        sequences=sequences,
        chunk=8,
        max_prompt_tokens=64,
        least_chunk=8,
        lookahead=lookahead,
        rows=rows,
    )
    values = {"context": 100, "vocab_size": VOCABULARY, "in_flight": 4 * stages + 8, **changes}
    return Limits(bounds=bounds, **values)


class Round:
    """The ring: every step that was issued comes round in order. A slot's token counts up from 100 a slot,
    and the stages' rules are checked: a slot is opened once, positions have no gap."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.flights: deque[Step] = deque()
        self.messages: list[EngineToGateway] = []
        self.steps: list[Step] = []
        self.positions: dict[int, int] = {}
        self.most = 0
        self.loads: list[int] = []  # ids' worth on the ring, after each step

    def submit(self, name: str, prompt: int | list[int] = 3, most: int = 4, **options) -> None:
        tokens = prompt if isinstance(prompt, list) else [1] * prompt
        self.messages += self.engine.submit(
            Submit(id=name, prompt=tokens, max_tokens=most, stop_tokens=options.pop("stop", []), **options)
        )

    def issue(self) -> None:
        while True:
            step, messages = self.engine.next_step()
            self.messages += messages
            if step is None:
                return
            self._check(step)
            self.steps.append(step)
            self.flights.append(step)
            self.most = max(self.most, self.engine.in_flight)
            self.loads.append(sum(len(s.tokens) + (len(s.payload) + 3) // 4 for s in self.flights))

    def come_round(self) -> None:
        step = self.flights.popleft()
        rows = tuple(
            structs.replace(row, token=row.position + row.count if row.sample else NO_TOKEN)
            for row in step.rows
        )
        self.messages += self.engine.acknowledge(structs.replace(step, rows=rows))

    def run(self, turns: int = 10_000) -> None:
        for _ in range(turns):
            self.issue()
            if not self.flights:
                return
            self.come_round()
        raise AssertionError("the engine does not come to rest")

    def of(self, name: str) -> list[EngineToGateway]:
        return [message for message in self.messages if getattr(message, "id", None) == name]

    def tokens(self, name: str) -> list[int]:
        found = [message for message in self.of(name) if isinstance(message, Token)]
        assert [message.index for message in found] == list(range(len(found)))
        return [message.token for message in found]

    def _check(self, step: Step) -> None:
        for row in step.rows:
            if step.operation is Operation.OPEN:
                assert row.slot not in self.positions
                self.positions[row.slot] = 0
            elif step.operation is Operation.DROP:
                del self.positions[row.slot]
            else:
                assert self.positions[row.slot] == row.position
                self.positions[row.slot] += row.count
                assert len(step.ids) == row.count


def test_a_request_starts_is_read_gets_its_tokens_and_finishes() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=20, most=4)
    ring.run()
    assert ring.of("a") == [
        Started(id="a"),
        Read(id="a", tokens=8),
        Read(id="a", tokens=16),
        *(Token(id="a", index=index, token=20 + index) for index in range(4)),
        Finished(id="a", reason="length", completion_tokens=4),
    ]
    assert [row.count for step in ring.steps for row in step.rows if row.count] == [8, 8, 4, 1, 1, 1]
    assert ring.engine.idle


def test_tokens_of_a_prompt_travel_once_and_in_order() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=list(range(17)), most=1)
    ring.run()
    assert [token for step in ring.steps for token in step.tokens] == list(range(17))
    last = next(step for step in reversed(ring.steps) if step.operation is Operation.RUN)
    assert (last.rows[0].count, last.rows[0].token, last.rows[0].sample) == (1, 16, True)


def test_only_the_last_chunk_of_a_prompt_draws() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=20, most=1)
    ring.run()
    runs = [step.rows[0] for step in ring.steps if step.operation is Operation.RUN]
    assert [row.sample for row in runs] == [False, False, True]


def test_a_stop_token_is_not_sent_and_no_step_follows_but_the_drop() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=5, most=50, stop=[8])
    ring.run()
    assert ring.tokens("a") == [5, 6, 7]
    assert ring.of("a")[-1] == Finished(id="a", reason="stop", completion_tokens=3)
    assert ring.steps[-1].operation is Operation.DROP
    assert ring.positions == {}


def test_with_lookahead_the_next_step_is_there_before_the_token_and_none_is_sent_past_the_end() -> None:
    engine = Engine(limits(stages=1, lookahead=2))
    ring = Round(engine)
    ring.submit("a", prompt=5, most=6)
    ring.issue()
    ring.come_round()  # open
    ring.come_round()  # prompt
    ring.issue()
    decodes = [step for step in ring.flights if step.rows[0].position >= 5]
    assert len(decodes) == 2
    assert all(step.rows[0].token == NO_TOKEN for step in decodes)
    ring.run()
    assert ring.tokens("a") == [5, 6, 7, 8, 9, 10]
    ring.submit("b", prompt=5, most=6, stop=[7])
    ring.run()
    assert ring.tokens("b") == [5, 6]


def test_without_lookahead_a_step_carries_the_token_that_came_back() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=5, most=4)
    ring.run()
    fed = [step.rows[0].token for step in ring.steps if step.rows and step.rows[0].position >= 5]
    assert fed == [5, 6, 7]


def test_a_cancel_is_the_very_next_step_and_is_answered_when_it_has_come_round() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=30, most=5)
    ring.submit("b", prompt=30, most=5)
    ring.issue()
    issued = len(ring.steps)
    assert ring.engine.cancel("a") == []
    ring.issue()
    assert ring.steps[issued].operation is Operation.DROP
    assert ring.steps[issued].rows[0].slot == ring.steps[0].rows[0].slot
    assert not any(isinstance(message, Finished) for message in ring.of("a"))
    ring.run()
    assert ring.of("a")[-1] == Finished(id="a", reason="cancelled", completion_tokens=0)
    assert ring.tokens("a") == []
    assert len(ring.tokens("b")) == 5


def test_of_a_prompt_that_nobody_waits_for_no_more_is_told() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=40, most=5)
    ring.issue()
    ring.come_round()  # open
    ring.come_round()
    assert ring.of("a") == [Started(id="a"), Read(id="a", tokens=8)]
    ring.engine.cancel("a")
    ring.run()
    assert ring.of("a")[2:] == [Finished(id="a", reason="cancelled", completion_tokens=0)]


def test_a_cancel_counts_the_tokens_that_were_sent() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", prompt=4, most=90)
    while len(ring.tokens("a")) < 3:
        ring.issue()
        ring.come_round()
    ring.engine.cancel("a")
    ring.engine.cancel("a")
    ring.run()
    ends = [message for message in ring.of("a") if isinstance(message, Finished)]
    assert ends == [Finished(id="a", reason="cancelled", completion_tokens=3)]


def test_a_cancelled_request_that_waits_ends_at_once_and_an_unknown_one_is_nothing() -> None:
    ring = Round(Engine(limits(sequences=1)))
    ring.submit("a", most=50)
    ring.submit("b")
    ring.issue()
    assert ring.engine.cancel("b") == [Finished(id="b", reason="cancelled", completion_tokens=0)]
    assert ring.engine.cancel("b") == ring.engine.cancel("nobody") == []
    ring.run()
    assert ring.of("b") == []


def test_a_slot_is_used_again_only_when_its_drop_has_come_round() -> None:
    ring = Round(Engine(limits(sequences=1)))
    ring.submit("a", most=1)
    ring.submit("b", most=1)
    while not any(isinstance(message, Finished) for message in ring.of("a")):
        ring.issue()
        ring.come_round()
    ring.issue()
    assert ring.steps[-1].operation is Operation.DROP
    assert not any(isinstance(message, Started) for message in ring.of("b"))
    ring.run()
    assert ring.tokens("b") == [3]


def test_nobody_hears_of_what_ran_for_a_gateway_that_is_gone() -> None:
    ring = Round(Engine(limits(sequences=2)))
    for name in "abc":
        ring.submit(name, prompt=20, most=9)
    while len(ring.tokens("a")) < 2:
        ring.issue()
        ring.come_round()
    ring.engine.cancel("b")
    ring.issue()  # its drop is on the ring
    before = len(ring.messages)
    ring.engine.cancel_all()
    ring.submit("a", prompt=2, most=3)  # the next gateway counts its ids from the start again
    ring.run()
    assert ring.messages[before:] == [
        Started(id="a"),
        *(Token(id="a", index=index, token=2 + index) for index in range(3)),
        Finished(id="a", reason="length", completion_tokens=3),
    ]
    assert ring.engine.idle


def test_a_full_queue_is_busy_with_both_numbers_and_a_request_that_never_fits_is_not() -> None:
    ring = Round(Engine(limits(sequences=1, queue=2)))
    for name in "abc":
        ring.submit(name)
    (busy,) = ring.of("c")
    assert isinstance(busy, Refused)
    assert (busy.kind, "2 requests wait, 2 are allowed" in busy.cause) == ("busy", True)
    ring.submit("d", prompt=101)
    (never,) = ring.of("d")
    assert isinstance(never, Refused)
    assert (never.kind, "101" in never.cause, "100" in never.cause) == ("limit", True, True)


def test_an_id_is_free_again_only_when_its_cancel_was_answered() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", most=50)
    ring.issue()
    ring.engine.cancel("a")
    ring.submit("a")
    assert isinstance(ring.of("a")[-1], Refused)
    ring.issue()
    ring.submit("a")
    assert isinstance(ring.of("a")[-1], Refused)
    ring.run()
    ring.submit("a", most=2)
    ring.run()
    assert ring.of("a")[-1] == Finished(id="a", reason="length", completion_tokens=2)


def test_a_seed_is_drawn_when_none_is_given_and_kept_when_one_is() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", sampling=Sampling(temperature=1.0))
    ring.submit("b", sampling=Sampling(temperature=1.0, seed=7))
    ring.run()
    opened = [
        msgspec.json.decode(step.payload, type=Sampling)
        for step in ring.steps
        if step.operation is Operation.OPEN
    ]
    assert opened[0].seed is not None
    assert opened[1] == Sampling(temperature=1.0, seed=7)


def test_steps_that_belong_to_nobody_are_numbered_with_the_others() -> None:
    ring = Round(Engine(limits()))
    park = ring.engine.control(Operation.PARK)
    assert (park.number, ring.engine.in_flight, ring.engine.idle) == (1, 1, False)
    assert ring.engine.acknowledge(park) == []
    ring.submit("a")
    ring.run()
    assert [step.number for step in ring.steps] == list(range(2, 2 + len(ring.steps)))


def test_a_chunk_beside_answers_is_cut_by_the_time_that_the_slowest_stage_took() -> None:
    """A decode step of 10 ms, 2 ms for each token of a prompt: one and a quarter steps are worth 6."""
    engine = Engine(limits(sequences=2))
    engine.submit(Submit(id="a", prompt=[1] * 8, max_tokens=60, stop_tokens=[]))
    chunks: list[int] = []
    flights: deque[Step] = deque()
    for turn in range(60):
        if turn == 20:
            engine.submit(Submit(id="long", prompt=[2] * 40, max_tokens=1, stop_tokens=[]))
        while (step := engine.next_step()[0]) is not None:
            flights.append(step)
            if step.operation is Operation.RUN and turn > 20 and not step.rows[0].sample:
                chunks.append(step.token_count)
        if flights:
            step = flights.popleft()
            rows = tuple(structs.replace(row, token=7) for row in step.rows)
            took = 2_000 * step.token_count if step.token_count > 1 else 10_000
            engine.acknowledge(structs.replace(step, rows=rows, microseconds=took))
    assert chunks[1:] and set(chunks[1:]) == {6}


requests = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 30), st.booleans(), st.integers(0, 200)),
    min_size=1,
    max_size=12,
)


@settings(deadline=None)
@given(requests, st.integers(1, 4), st.integers(1, 4), st.data())
def test_any_history_comes_to_rest_with_every_request_answered_once(
    wanted: list[tuple[int, int, bool, int]], stages: int, sequences: int, data: st.DataObject
) -> None:
    lookahead = 2 if stages == 1 else 1
    ring = Round(Engine(limits(stages=stages, sequences=sequences, lookahead=lookahead)))
    to_cancel: list[tuple[int, str]] = []
    for number, (prompt, most, cancelled, turn) in enumerate(wanted):
        ring.submit(str(number), prompt, most)
        if cancelled:
            to_cancel.append((turn, str(number)))
    for turn in range(10_000):
        for due, name in to_cancel:
            if due == turn:
                ring.messages += ring.engine.cancel(name)
        ring.issue()
        if not ring.flights:
            break
        for _ in range(data.draw(st.integers(1, len(ring.flights))) if turn < 20 else 1):
            ring.come_round()
    assert ring.engine.idle
    assert ring.positions == {}
    assert ring.most <= 4 * stages + 8
    started = [message.id for message in ring.messages if isinstance(message, Started)]
    unstarted = {str(n) for n, (_, most, _, _) in enumerate(wanted) if most == 0}
    ran = [name for name in started if name not in unstarted]
    assert ran == sorted(ran, key=int), "first come, first served"
    for number, (prompt, most, cancelled, _) in enumerate(wanted):
        (end,) = [message for message in ring.of(str(number)) if isinstance(message, Finished)]
        tokens = ring.tokens(str(number))
        assert tokens == list(range(prompt, prompt + len(tokens)))
        assert len(tokens) == end.completion_tokens
        if end.reason == "length":
            assert len(tokens) == most
        else:
            assert cancelled


def test_openings_wait_for_room_beside_the_prompts_on_the_wrap_link() -> None:
    ring = Round(Engine(limits(sequences=6)))
    large = Sampling(logit_bias={token: 0.5 for token in range(10)})  # 25 ids' worth of the 64 there are
    for name in "abcdef":
        ring.submit(name, prompt=30, sampling=large)
    ring.run()

    def worth(step: Step) -> int:
        return len(step.tokens) + (len(step.payload) + 3) // 4

    opened = [step for step in ring.steps if step.operation is Operation.OPEN]
    assert len(opened) == 6
    assert 2 * worth(opened[0]) < 64 < 3 * worth(opened[0])
    assert max(ring.loads) > 48, "the room there is is used"
    assert max(ring.loads) <= 64
    assert all(ring.of(name)[-1].completion_tokens == 4 for name in "abcdef")


def test_a_bias_outside_the_vocabulary_is_refused_with_its_id() -> None:
    ring = Round(Engine(limits()))
    ring.submit("a", sampling=Sampling(logit_bias={VOCABULARY - 1: 1.0, VOCABULARY: 1.0}))
    (refused,) = ring.of("a")
    assert isinstance(refused, Refused)
    assert f"token id {VOCABULARY} is outside" in refused.cause


def test_log_probabilities_that_come_round_go_to_the_gateway_with_their_tokens() -> None:
    engine = Engine(limits())
    engine.submit(Submit(id="a", prompt=[1, 2], max_tokens=2, stop_tokens=[]))
    messages = []
    while (step := engine.next_step()[0]) is not None:
        if step.operation is Operation.RUN:
            half = struct.unpack("<i", struct.pack("<f", -0.5))[0]
            row = structs.replace(step.rows[0], token=7)
            step = structs.replace(step, rows=(row,), payload=pack([[half, 9, half]]))
        messages += engine.acknowledge(step)
    assert [m.logprobs for m in messages if isinstance(m, Token)] == [Logprobs(-0.5, ((9, -0.5),))] * 2


def test_while_it_is_held_nothing_new_runs_and_what_waits_is_told_why() -> None:
    ring = Round(Engine(limits(sequences=1)))
    ring.submit("a", most=6)
    ring.issue()
    ring.submit("b")
    ring.messages += ring.engine.hold("rank 1 is short of memory")
    ring.submit("c")
    ring.run()
    for name in ("b", "c"):
        assert ring.of(name) == [Refused(id=name, cause="rank 1 is short of memory", kind="memory")]
    assert len(ring.tokens("a")) == 6
    assert ring.engine.hold("") == []
    ring.submit("d")
    ring.run()
    assert len(ring.tokens("d")) == 4
    assert ring.engine.idle


def test_of_those_that_run_the_youngest_is_ended_and_hears_why_once() -> None:
    ring = Round(Engine(limits(sequences=2)))
    ring.submit("old", most=8)
    ring.submit("young", most=8)
    while not ring.tokens("young"):
        ring.issue()
        ring.come_round()
    ring.messages += ring.engine.shed("memory")
    ring.run()
    assert ring.of("young")[-1] == Refused(id="young", cause="memory", kind="memory")
    assert not [message for message in ring.of("young") if isinstance(message, Finished)]
    assert len(ring.tokens("old")) == 8
    assert ring.engine.idle and ring.engine.shed("memory") == []


def test_while_memory_is_short_prompts_are_read_only_when_nobody_answers() -> None:
    def read(ring: Round) -> int:
        return ring.positions.get(1, 0)

    ring = Round(Engine(limits(sequences=2)))
    ring.submit("a", most=8)
    while not ring.tokens("a"):
        ring.issue()
        ring.come_round()
    ring.submit("b", prompt=64, most=2)
    ring.issue()
    begun = read(ring)
    assert ring.engine.hold("memory") == []
    while len(ring.tokens("a")) < 5:
        ring.come_round()
        ring.issue()
    assert read(ring) == begun < 64
    ring.engine.hold("memory", pause=True)
    ring.run()
    assert len(ring.tokens("a")) == 8 and read(ring) == begun
    ring.engine.hold("memory")
    ring.run()
    assert len(ring.tokens("b")) == 2
