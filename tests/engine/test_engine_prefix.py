"""The prefix cache beside requests of any history: what steps store has been computed, what they load is what
the sequence begins with, and every place is found again. Ranks are played by a model of one."""

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine import prefix_steps
from ringcore.engine.engine import Engine
from ringcore.engine.limits import Keeping, Limits
from ringcore.engine.scheduler import Bounds
from ringcore.engine.step import NO_TOKEN, Operation, Row, Step
from ringcore.spec.engine import EngineToGateway, Finished, Refused, Submit, Token

B = 64
DRAWN = 7
CACHES = ("tokens", "windows", "states")


class Rank:
    """Every stage, as it were: tokens of each slot, of each place all tokens up to its block's end, and what
    is on disk. Its caches hold every "tokens", "windows" or "states". Steps come round in order; rules that
    a real rank holds to are checked."""

    def __init__(self, places: int, *, stages: int = 2, disk: bool = False, caches: str = "tokens") -> None:
        bounds = Bounds(
            stages=stages, sequences=3, chunk=48, max_prompt_tokens=400, lookahead=2 if stages == 1 else 1
        )
        limits = Limits(
            context=4096,
            vocab_size=1000,
            bounds=bounds,
            in_flight=4 * stages + 8,
            prefix=Keeping(
                blocks=places, block_tokens=B, at_once=caches != "tokens", at_ends=caches == "states"
            ),
        )
        self.caches = caches
        self.before: dict[int, int] = {}  # tokens of each slot before its newest step
        self.steps: list[Step] = []
        self.disk: dict[bytes, tuple[int, ...]] = {}
        self.engine = Engine(limits, (lambda name: name in self.disk) if disk else lambda _name: False)
        self.places = places
        self.readable = 99  # blocks of a FETCH that all ranks can read
        self.slots: dict[int, list[int]] = {}
        self.blocks: dict[int, tuple[int, ...]] = {}
        self.flights: deque[Step] = deque()
        self.messages: list[EngineToGateway] = []
        self.prompts: dict[str, list[int]] = {}

    def submit(self, name: str, prompt: list[int], most: int) -> None:
        self.prompts[name] = prompt
        self.messages += self.engine.submit(
            Submit(id=name, prompt=prompt, max_tokens=most, stop_tokens=[DRAWN])
        )

    def issue(self) -> None:
        while True:
            step, messages = self.engine.next_step()
            self.messages += messages
            if step is None:
                return
            self.steps.append(step)
            self.flights.append(self._done(step))

    def come_round(self) -> None:
        self.messages += self.engine.acknowledge(self.flights.popleft())

    def run(self) -> None:
        for _ in range(5_000):
            self.issue()
            if not self.flights:
                assert self.engine.idle
                return
            self.come_round()
        raise AssertionError("the engine does not come to rest")

    def of(self, name: str) -> list[EngineToGateway]:
        return [message for message in self.messages if getattr(message, "id", None) == name]

    def _done(self, step: Step) -> Step:
        match step.operation:
            case Operation.OPEN:
                assert step.rows[0].slot not in self.slots
                self.slots[step.rows[0].slot] = []
            case Operation.DROP:
                del self.slots[step.rows[0].slot]
            case Operation.RUN:
                return self._ran(step)
            case Operation.STORE:
                self._stored(step)
            case Operation.LOAD:
                self._loaded(step)
            case Operation.FORGET:
                for place in prefix_steps.places(step.payload):
                    self.blocks.pop(place, None)
            case _:
                return self._fetched(step)
        return structs.replace(step, payload=b"")

    def _ran(self, step: Step) -> Step:
        rows: list[Row] = []
        ids = list(step.ids)
        for row in step.rows:
            held = self.slots[row.slot]
            assert len(held) == row.position
            own = [ids.pop(0) for _ in range(row.count)]
            self.before[row.slot] = len(held)
            if self.caches == "states" and self.places:
                assert len(held) // B == (len(held) + row.count - 1) // B, (
                    "no chunk goes across a block's end"
                )
            held += [held_last(held) if token == NO_TOKEN else token for token in own]
            rows.append(structs.replace(row, token=held_last(held) if row.sample else NO_TOKEN))
        return structs.replace(step, rows=tuple(rows), tokens=())

    def _stored(self, step: Step) -> None:
        (row,) = step.rows
        entries = prefix_steps.stored(step.payload)
        held = self.slots[row.slot]
        assert row.position + row.count <= len(held), "what is stored was computed"
        assert row.count == B * len(entries)
        if self.caches == "windows":
            assert row.position + B > self.before[row.slot], "older tokens are gone"
        if self.caches == "states":
            assert row.position + row.count == len(held), "a state is that of now"
        for number, (place, name) in enumerate(entries):
            assert 0 <= place < self.places
            self.blocks[place] = self.disk[name] = tuple(held[: row.position + B * (number + 1)])

    def _loaded(self, step: Step) -> None:
        (row,) = step.rows
        held = self.slots[row.slot]
        assert len(held) == row.position
        for place in prefix_steps.places(step.payload):
            content = self.blocks[place]
            assert content[: len(held)] == tuple(held) and len(content) == len(held) + B
            held += content[len(held) :]

    def _fetched(self, step: Step) -> Step:
        (row,) = step.rows
        entries = prefix_steps.stored(step.payload)
        count = min(self.readable, row.token)
        for place, name in entries[:count]:
            self.blocks[place] = self.disk[name]
        return structs.replace(step, rows=(structs.replace(row, token=count),), payload=b"")


def held_last(held: list[int]) -> int:
    """What follows is told by what is there: equal beginnings go on equally."""
    return 100 + (sum(held[-3:]) + len(held)) % 800


def blocks(*numbers: int, rest: int = 1) -> list[int]:
    return [number for number in numbers for _ in range(B)] + [9] * rest


@pytest.mark.parametrize("caches", CACHES)
@pytest.mark.parametrize("end", ["cancel", "shed"])
def test_a_request_that_ends_in_the_middle_of_its_prompt_leaves_what_was_computed_and_no_more(
    end: str, caches: str
) -> None:
    ring = Rank(32, caches=caches)
    ring.submit("a", blocks(1, 2, 3, 4, 5, 6, 7, 8, 9), 5)
    while max(map(len, ring.slots.values()), default=0) < 2 * B:
        ring.issue()
        ring.come_round()
    ring.issue()
    computed = len(ring.slots[0])
    assert computed < 9 * B
    ring.messages += ring.engine.cancel("a") if end == "cancel" else ring.engine.shed("memory")
    ring.run()
    assert sorted(map(len, ring.blocks.values())) == [B * n for n in range(1, computed // B + 1)]
    assert len(ring.of("a")) == 2


verbs = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "cancel", "shed", "forget", "fetches"]),
        st.lists(st.integers(1, 3), min_size=1, max_size=4),
        st.integers(0, 6),
    ),
    max_size=30,
)


@given(st.integers(0, 9), st.integers(1, 3), st.booleans(), st.sampled_from(CACHES), verbs, st.data())
def test_any_history_loads_what_its_requests_begin_with(
    places: int,
    stages: int,
    disk: bool,
    caches: str,
    history: list[tuple[str, list[int], int]],
    data: st.DataObject,
) -> None:
    ring = Rank(places, stages=stages, disk=disk, caches=caches)
    for number, (verb, runs, count) in enumerate(history):
        match verb:
            case "submit":
                ring.submit(str(number), blocks(*runs, rest=count), 1 + 20 * count)
            case "cancel":
                ring.messages += ring.engine.cancel(data.draw(st.sampled_from([*ring.prompts, "none"])))
            case "shed":
                ring.messages += ring.engine.shed("memory")
            case "forget":
                ring.engine.forget(count)
            case _:
                ring.readable = count
        ring.issue()
        for _ in range(data.draw(st.integers(0, len(ring.flights)))):
            ring.come_round()
    ring.run()
    assert ring.slots == {}
    for name in ring.prompts:
        assert sum(isinstance(message, Finished | Refused) for message in ring.of(name)) == 1
    ring.engine.forget(places)
    ring.run()
    assert ring.blocks == {}
    # Every place is free again.
    for each in range(places):
        ring.submit(f"last {each}", blocks(4 + each), 1)
        ring.run()
    assert len(ring.blocks) == places


@pytest.mark.parametrize("requests", [1, 3])
@pytest.mark.parametrize("stages", [1, 2])
@pytest.mark.parametrize("caches", ["windows", "states"])
def test_what_caches_forget_is_stored_by_the_step_behind_the_one_that_completes_it(
    caches: str, stages: int, requests: int
) -> None:
    """Of one request alone on one stage two tokens are on their way; the name of a block needs all of its."""
    ring = Rank(40, stages=stages, caches=caches)
    for number in range(requests):
        ring.submit(str(number), blocks(10 + number, 20 + number, rest=20), 3 * B)
    ring.run()
    assert sorted(map(len, ring.blocks.values())) == sorted([B * n for n in range(1, 6)] * requests)
    due: list[tuple[int, int]] = []  # slot and end of blocks that the newest RUN completed
    for step in ring.steps:
        if step.operation is Operation.RUN:
            assert not due
            ends = [(row.slot, row.position, row.position + row.count) for row in step.rows]
            due = [(slot, at) for slot, start, end in ends for at in range(start // B * B + B, end + 1, B)]
        elif step.operation is Operation.STORE:
            (row,) = step.rows
            for at in range(row.position + B, row.position + row.count + 1, B):
                due.remove((row.slot, at))
    assert not due


@pytest.mark.parametrize("caches", CACHES)
def test_no_run_waits_for_more_stores_than_it_has_rows(caches: str) -> None:
    """Where blocks are stored at once; else for one a prompt or answer, of `MAX_BLOCKS` blocks each."""
    ring = Rank(9, caches=caches)
    for number in range(9):
        ring.submit(str(number), blocks(number % 4, number % 3, 5, rest=20), 2 * B)
    ring.run()
    between = 0
    for step in ring.steps:
        between = between + 1 if step.operation is Operation.STORE else 0
        assert between <= 3


@pytest.mark.parametrize("caches", CACHES)
def test_equal_requests_answer_equally_however_much_of_them_is_held(caches: str) -> None:
    ring = Rank(4, disk=True, caches=caches)
    for number in range(6):
        ring.submit(str(number), blocks(1, 2, 3, rest=5), 90)
        ring.submit(f"other {number}", blocks(1, number), 3)
        ring.run()
        if number == 3:
            ring.engine.forget(3)
    answers = [[m.token for m in ring.of(str(n)) if isinstance(m, Token)] for n in range(6)]
    assert answers == [answers[0]] * 6 and len(answers[0]) == 90
