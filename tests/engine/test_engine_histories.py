"""The engine under anything that may happen to it in any order, against a model of what ranks hold.

Steps are issued one by one or as many as may go, come round late, blocks go for want of memory, by an
operator's order or from under the files; the gateway leaves; memory is short and is not. Whatever happens,
each answer is the one that the request has alone, and what ranks hold is what the next request begins with.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import structs

from ringcore.engine import prefix_steps
from ringcore.engine.engine import Engine
from ringcore.engine.step import Operation, Step
from ringcore.spec.control import Bring, Brought
from ringcore.spec.engine import Finished, Refused, Started, Submit, Token
from tests.engine.test_engine_prefix import CACHES, B, Rank, blocks, held_last

STOPS = [token for token in range(100, 900) if token % 23 == 0]
CAUSE = "memory is short"


class Ranks(Rank):
    """As `Rank`; files may go from under it, by order or by themselves, or lie on other hosts: ``far``, until
    one of the orders ``asked`` brings them."""

    def __init__(self, places: int, *, stages: int, disk: bool, caches: str) -> None:
        super().__init__(places, stages=stages, disk=disk, caches=caches)
        self.stages = stages
        self.far: dict[bytes, tuple[int, ...]] = {}
        self.asked: list[Bring] = []
        self.engine = Engine(
            self.engine._limits,
            lambda name: disk and name in self.disk,
            self.asked.append,
            lambda _text: None,
        )

    def come_to_rest(self) -> None:
        while not self.engine.idle:
            self.issue()
            if self.flights:
                self.come_round()
            elif self.asked:
                self.bring(1)
            else:
                raise AssertionError("nothing moves any more")

    def bring(self, count: int) -> None:
        """The agents' answer to the oldest order."""
        order = self.asked.pop(0)
        names = [bytes.fromhex(name) for name in order.blocks]
        count = next(
            (n for n, name in enumerate(names[:count]) if name not in self.far), min(count, len(names))
        )
        self.disk |= {name: self.far[name] for name in names[:count]}
        self.engine.brought(Brought(id=order.id, count=count, seconds=0.5, bytes=1000))

    def _done(self, step: Step) -> Step:
        if step.operation is Operation.FORGET and not step.payload:
            self.disk.clear()
            self.far.clear()
        return super()._done(step)

    def _fetched(self, step: Step) -> Step:
        (row,) = step.rows
        count = 0
        for place, name in prefix_steps.stored(step.payload)[: min(self.readable, row.token)]:
            if name not in self.disk:
                break
            self.blocks[place] = self.disk[name]
            count += 1
        return structs.replace(step, rows=(structs.replace(row, token=count),), payload=b"")


def alone(prompt: list[int], most: int) -> list[int]:
    """What a request answers that has the ranks to itself."""
    held, answer = list(prompt), []
    while len(answer) < most and (token := held_last(held)) not in STOPS:
        answer.append(token)
        held.append(token)
    return answer


class Histories(RuleBasedStateMachine):
    @initialize(
        places=st.integers(0, 12),
        stages=st.integers(1, 3),
        disk=st.booleans(),
        caches=st.sampled_from(CACHES),
    )
    def begin(self, places: int, stages: int, disk: bool, caches: str) -> None:
        self.ring = Ranks(places, stages=stages, disk=disk, caches=caches)
        self.most: dict[str, int] = {}
        self.unheard: set[str] = set()  # whose gateway left before they had ended
        self.with_files = disk

    @rule(
        runs=st.lists(st.integers(1, 2), min_size=1, max_size=4),
        rest=st.integers(0, 6),
        most=st.integers(0, 150),
    )
    def submit(self, runs: list[int], rest: int, most: int) -> None:
        self.ask(f"r{len(self.most)}", blocks(*runs, rest=rest), most)

    @precondition(lambda self: self.most)
    @rule(data=st.data())
    def ask_again(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(list(self.most)))
        self.ask(f"r{len(self.most)}", self.ring.prompts[name], 30)

    @rule(data=st.data())
    def go_on_from_an_answer(self, data: st.DataObject) -> None:
        known = [name for name in self.most if self.answer(name)]
        if known:
            name = data.draw(st.sampled_from(known))
            following = [*self.ring.prompts[name], *self.answer(name), *blocks(2)]
            self.ask(f"r{len(self.most)}", following[: 8 * B], 20)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from([*self.most, "nobody"]))
        self.ring.messages += self.ring.engine.cancel(name)

    @rule()
    def issue_one(self) -> None:
        step, messages = self.ring.engine.next_step()
        self.ring.messages += messages
        if step is not None:
            self.ring.steps.append(step)
            self.ring.flights.append(self.ring._done(step))

    @rule()
    def issue_all(self) -> None:
        self.ring.issue()

    @precondition(lambda self: self.ring.flights)
    @rule(count=st.integers(1, 12))
    def come_round(self, count: int) -> None:
        for _ in range(min(count, len(self.ring.flights))):
            self.ring.come_round()

    @precondition(lambda self: self.ring.flights)
    @rule(count=st.integers(1, 40))
    def serve(self, count: int) -> None:
        for _ in range(count):
            self.ring.issue()
            if self.ring.flights:
                self.ring.come_round()

    @rule(count=st.integers(0, 9))
    def give_up_blocks(self, count: int) -> None:
        assert self.ring.engine.forget(count) <= min(count, self.ring.places)

    @rule(pause=st.booleans())
    def run_short_of_memory(self, pause: bool) -> None:
        self.ring.messages += self.ring.engine.hold(CAUSE, pause=pause)

    @rule()
    def shed(self) -> None:
        self.ring.messages += self.ring.engine.shed(CAUSE)

    @rule()
    def have_memory_again(self) -> None:
        self.ring.messages += self.ring.engine.hold("")

    @rule(data=st.data(), what=st.sampled_from(["gateway", "everything", "reader", "file"]))
    def lose_something(self, data: st.DataObject, what: str) -> None:
        match what:
            case "gateway":
                self.unheard |= {name for name in self.most if not self.ended(name)}
                self.ring.engine.cancel_all()
            case "everything":
                self.ring.engine.clear()
            case "reader":
                self.ring.readable = data.draw(st.integers(0, 3))
            case _ if self.ring.disk:
                del self.ring.disk[data.draw(st.sampled_from(sorted(self.ring.disk)))]

    @rule(data=st.data(), size=st.sampled_from([1000, 1000, 1 << 50]))
    def start_again(self, data: st.DataObject, size: int) -> None:
        """With the files, some of which may lie on other hosts now, and what was asked last asked again."""
        self.ring.engine.hold("")
        self.ring.come_to_rest()
        before = self.ring
        self.ring = Ranks(before.places, stages=before.stages, disk=self.with_files, caches=before.caches)
        self.ring.messages, self.ring.prompts = before.messages, before.prompts
        if self.with_files:
            self.ring.disk, self.ring.far = before.disk, before.far
            far = data.draw(st.sets(st.sampled_from([*sorted(before.disk), b""]))) - {b""}
            self.ring.far |= {name: before.disk.pop(name) for name in sorted(far)}
            self.ring.engine.elsewhere([(name.hex(), size) for name in sorted(self.ring.far)])
        if self.most:
            name = list(self.most)[-1]
            self.ask(f"r{len(self.most)}", self.ring.prompts[name], self.most[name])

    @precondition(lambda self: self.ring.asked)
    @rule(count=st.integers(0, 5))
    def have_blocks_brought(self, count: int) -> None:
        self.ring.bring(count)

    @invariant()
    def there_are_no_more_blocks_than_places(self) -> None:
        assert len(self.ring.blocks) <= self.ring.places

    @invariant()
    def every_answer_begins_as_it_does_alone(self) -> None:
        for name, most in self.most.items():
            answer, ends = self.answer(name), self.ended(name)
            expected = alone(self.ring.prompts[name], most)
            assert answer == expected[: len(answer)]
            assert len(ends) <= 1
            if ends and isinstance(ends[0], Finished) and ends[0].reason != "cancelled":
                assert answer == expected
                assert ends[0].reason == ("length" if len(expected) == most else "stop")

    def teardown(self) -> None:
        if not hasattr(self, "ring"):
            return
        self.have_memory_again()
        self.ring.come_to_rest()
        assert self.ring.slots == {}
        for name in self.most:
            assert len(self.ended(name)) == 1 or name in self.unheard, name
        self.every_answer_begins_as_it_does_alone()
        self.what_is_held_is_found()
        self.every_place_can_be_used()

    def what_is_held_is_found(self) -> None:
        """In places, and without files exactly that."""
        for tokens in sorted(set(self.ring.blocks.values()), key=len, reverse=True):
            held = set(self.ring.blocks.values())
            whole = [tokens[: B * n] in held for n in range(1, len(tokens) // B + 1)]
            expected = B * (whole.index(False) if False in whole else len(whole))
            name = f"after {len(self.most)}"
            self.ask(name, [*tokens, 1], 1)
            self.ring.come_to_rest()
            (started,) = [m for m in self.ring.of(name) if isinstance(m, Started)]
            assert started.cached_tokens >= expected
            assert self.with_files or started.cached_tokens == expected

    def every_place_can_be_used(self) -> None:
        self.ring.engine.forget(self.ring.places)
        self.ring.come_to_rest()
        assert self.ring.blocks == {}
        for number in range(self.ring.places):
            self.ask(f"last {number}", blocks(10 + number), 1)
            self.ring.come_to_rest()
        assert len(self.ring.blocks) == self.ring.places

    def ask(self, name: str, prompt: list[int], most: int) -> None:
        self.most[name] = most
        self.ring.prompts[name] = prompt
        request = Submit(id=name, prompt=prompt, max_tokens=most, stop_tokens=STOPS)
        self.ring.messages += self.ring.engine.submit(request)

    def answer(self, name: str) -> list[int]:
        return [m.token for m in self.ring.of(name) if isinstance(m, Token)]

    def ended(self, name: str) -> list[Finished | Refused]:
        return [m for m in self.ring.of(name) if isinstance(m, Finished | Refused)]


Histories.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestHistories = Histories.TestCase
