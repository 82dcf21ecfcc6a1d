"""Requests whose beginnings lie on other hosts: they wait, others run, and the answer is that of computing,
whatever came of what was asked for, and when."""

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from ringcore.engine import prefix_steps
from ringcore.engine.engine import Engine
from ringcore.engine.step import Operation, Step
from ringcore.spec.control import Bring, Brought, Unwanted
from ringcore.spec.engine import Finished, Refused, Started, Token
from tests.engine.test_engine_prefix import B, Rank, blocks

SMALL, HUGE = 1000, 1 << 50


class Ring(Rank):
    """``disk``: what every rank can read. ``far``: blocks that come when they are asked for."""

    def __init__(self, places: int = 16, *, stages: int = 2) -> None:
        super().__init__(places, stages=stages, disk=True)
        self.far: dict[bytes, tuple[int, ...]] = {}
        self.asked: list[Bring] = []
        self.unwanted: list[int] = []
        self.operations: list[Operation] = []
        self.engine = Engine(
            self.engine._limits, lambda name: name in self.disk, self._ask, lambda _text: None
        )

    def _ask(self, order: Bring | Unwanted) -> None:
        if isinstance(order, Unwanted):
            assert order.id in [each.id for each in self.asked]
            self.unwanted.append(order.id)
        else:
            self.asked.append(order)

    def moved(self, other: "Ring", names: Iterable[bytes], size: int = SMALL) -> None:
        """``names`` of what ``other`` wrote are elsewhere."""
        self.far |= {name: other.disk[name] for name in names}
        self.engine.elsewhere([(name.hex(), size) for name in self.far])

    def answer(self, order: Bring, count: int) -> None:
        for name in order.blocks[:count]:
            self.disk[bytes.fromhex(name)] = self.far[bytes.fromhex(name)]
        self.asked.remove(order)
        self.engine.brought(Brought(id=order.id, count=count, seconds=1.0))

    def turns(self, count: int) -> None:
        for _ in range(count):
            self.issue()
            if self.flights:
                self.come_round()

    def answers(self, name: str) -> list[int]:
        return [message.token for message in self.of(name) if isinstance(message, Token)]

    def cached(self, name: str) -> int:
        (started,) = [message for message in self.of(name) if isinstance(message, Started)]
        return started.cached_tokens

    def _done(self, step: Step) -> Step:
        self.operations.append(step.operation)
        return super()._done(step)

    def _fetched(self, step: Step) -> Step:
        (row,) = step.rows
        names = [name for _, name in prefix_steps.stored(step.payload)]
        readable = next((n for n, name in enumerate(names) if name not in self.disk), len(names))
        return super()._fetched(
            structs.replace(step, rows=(structs.replace(row, token=min(readable, row.token)),))
        )


def written(*prompts: list[int]) -> Ring:
    """A ring that has answered ``prompts``."""
    ring = Ring()
    for number, prompt in enumerate(prompts):
        ring.submit(str(number), prompt, 20)
        ring.run()
    return ring


PROMPT = blocks(1, 2, 3, rest=5)


def test_a_request_waits_for_its_blocks_while_others_run_and_begins_with_them() -> None:
    before = written(PROMPT)
    ring = Ring()
    ring.moved(before, before.disk)
    ring.submit("waits", PROMPT, 20)
    ring.submit("runs", blocks(7, 8), 5)
    ring.turns(60)
    assert [len(order.blocks) for order in ring.asked] == [3]
    assert any(isinstance(message, Finished) for message in ring.of("runs"))
    assert not ring.of("waits") and not ring.engine.idle
    ring.answer(ring.asked[0], 3)
    ring.run()
    assert ring.cached("waits") == 3 * B
    assert ring.answers("waits") == before.answers("0")


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_did_not_come_is_computed_and_not_waited_for_again(count: int) -> None:
    before = written(PROMPT)
    ring = Ring()
    ring.moved(before, before.disk)
    for number in range(2):
        ring.submit(str(number), PROMPT, 20)
        ring.turns(9)
        if not number:
            ring.answer(ring.asked[0], count)
        ring.run()
        assert ring.asked == [] and ring.answers(str(number)) == before.answers("0")
    assert [ring.cached("0"), ring.cached("1")] == [count * B, 3 * B]


def test_what_is_dearer_to_move_is_computed_at_once_and_no_step_looks_for_it() -> None:
    before = written(PROMPT)
    ring = Ring()
    ring.moved(before, before.disk, HUGE)
    ring.disk = dict(before.disk)  # the leader's own host has it; another does not
    ring.submit("a", PROMPT, 20)
    ring.run()
    assert ring.asked == [] and Operation.FETCH not in ring.operations
    assert (ring.cached("a"), ring.answers("a")) == (0, before.answers("0"))


def test_a_request_that_is_cancelled_while_it_waits_ends_at_once_and_its_blocks_serve_the_next() -> None:
    before = written(PROMPT)
    ring = Ring()
    ring.moved(before, before.disk)
    ring.submit("gone", PROMPT, 20)
    ring.turns(5)
    ring.messages += ring.engine.cancel("gone")
    ring.run()
    assert [type(message) for message in ring.of("gone")] == [Finished]
    ring.answer(ring.asked[0], 3)
    ring.run()
    ring.submit("next", PROMPT, 20)
    ring.run()
    assert (ring.cached("next"), ring.answers("next")) == (3 * B, before.answers("0"))


def test_an_order_that_nobody_waits_for_is_given_up_and_asked_for_again_by_the_next() -> None:
    before = written(PROMPT)
    ring = Ring()
    ring.moved(before, before.disk)
    for name in ("one", "other"):
        ring.submit(name, PROMPT, 20)
    ring.turns(5)
    assert len(ring.asked) == 1
    ring.messages += ring.engine.cancel("one")
    ring.turns(5)
    assert ring.unwanted == [], "another waits still"
    ring.messages += ring.engine.cancel("other")
    ring.turns(5)
    assert ring.unwanted == [ring.asked[0].id]
    ring.answer(ring.asked[0], 1)
    ring.run()
    ring.submit("next", PROMPT, 20)
    ring.turns(5)
    assert [len(order.blocks) for order in ring.asked] == [2]
    ring.answer(ring.asked[0], 2)
    ring.run()
    assert (ring.cached("next"), ring.answers("next")) == (3 * B, before.answers("0"))


def test_all_is_forgotten_while_blocks_are_on_their_way() -> None:
    before = written(PROMPT)
    ring = Ring()
    ring.moved(before, before.disk)
    ring.submit("a", PROMPT, 20)
    ring.turns(5)
    ring.engine.clear()
    ring.engine.brought(Brought(id=ring.asked[0].id, count=3, seconds=0.1))
    ring.run()
    assert len(ring.asked) == 1 and Operation.FETCH not in ring.operations
    assert (ring.cached("a"), ring.answers("a")) == (0, before.answers("0"))


verbs = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "answer", "cancel", "turns", "clear"]),
        st.lists(st.integers(1, 3), min_size=1, max_size=4),
        st.integers(0, 5),
    ),
    max_size=25,
)


@given(st.integers(2, 12), st.integers(1, 3), verbs, st.data())
def test_any_history_of_asking_and_coming_answers_as_computing_does(
    places: int, stages: int, history: list[tuple[str, list[int], int]], data: st.DataObject
) -> None:
    before = written(blocks(1, 2, 3, 1), blocks(2, 2, 1), blocks(3, 1, 1))
    ring = Ring(places, stages=stages)
    names = sorted(before.disk)
    kinds = data.draw(st.lists(st.sampled_from("hef"), min_size=len(names), max_size=len(names)))
    ring.disk = {name: before.disk[name] for name, kind in zip(names, kinds, strict=True) if kind == "h"}
    size = data.draw(st.sampled_from([SMALL, HUGE]))
    ring.moved(before, [name for name, kind in zip(names, kinds, strict=True) if kind == "e"], size)
    for number, (verb, runs, count) in enumerate(history):
        match verb:
            case "submit":
                ring.submit(str(number), blocks(*runs, rest=1 + count), 1 + 9 * count)
            case "answer" if ring.asked:
                order = ring.asked[count % len(ring.asked)]
                ring.answer(order, min(count, len(order.blocks)))
            case "cancel":
                ring.messages += ring.engine.cancel(data.draw(st.sampled_from([*ring.prompts, "none"])))
            case "clear":
                ring.engine.clear()
            case _:
                ring.turns(count)
    for _ in range(1000):
        ring.turns(20)
        for order in tuple(ring.asked):
            ring.answer(order, len(order.blocks) // 2)
        if ring.engine.idle:
            break
    assert ring.engine.idle and not ring.slots
    whole = Ring(0, stages=stages)
    for name, prompt in ring.prompts.items():
        assert sum(isinstance(message, Finished | Refused) for message in ring.of(name)) == 1
        whole.submit(name, prompt, 1 + 9 * 5)
        whole.run()
        answer = ring.answers(name)
        assert answer == whole.answers(name)[: len(answer)]
