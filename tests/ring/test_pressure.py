"""A ring whose rank is short of memory refuses, with the numbers, until it is not, and goes on serving."""

from ringcore.spec.engine import Finished, Refused
from ringcore.spec.events import MemoryPressure, PressureLevel
from ringcore.spec.units import GIB
from tests.ring.harness import Ring, make_plan


def pressure(level: PressureLevel, rank: int = 1, over: int = GIB) -> MemoryPressure:
    return MemoryPressure(
        rank=rank,
        host="host1",
        level=level,
        used_bytes=12 * GIB,
        limit_bytes=12 * GIB,
        source="its ceiling in the plan",
        over_bytes=over if level != "calm" else 0,
    )


def ask(ring: Ring, kind: type[Finished] | type[Refused]) -> tuple[str, Finished | Refused]:
    """Ask until a request ends so: a word on memory and a request come by ways of their own."""
    for number in range(100):
        name = f"{kind.__name__}{len(ring.messages(Finished))}.{len(ring.messages(Refused))}.{number}"
        ring.submit(name, [1, 2, 3], 8)
        ring.wait(lambda: ring.messages(Finished, name) or ring.messages(Refused, name), "its end")  # noqa: B023
        if found := ring.messages(kind, name):
            return name, found[0]
    raise AssertionError(f"no request was {kind.__name__}")


def test_a_rank_short_of_memory_holds_new_requests_off_until_it_is_calm() -> None:
    with Ring(make_plan([1, 1])) as ring:
        expected = ring.answer("before", [1, 2, 3], 8)
        ring.ranks[0].press(pressure("near"))
        ring.ranks[0].press(pressure("full"))
        _, refused = ask(ring, Refused)
        assert isinstance(refused, Refused) and refused.kind == "memory"
        assert "rank 1 on host1 is short of memory, 12.0 GiB of 12.0 GiB in use" in refused.cause

        ring.ranks[0].press(pressure("full", rank=0))
        ring.ranks[0].press(pressure("calm"))
        ring.wait(lambda: "rank 0" in ask(ring, Refused)[1].cause, "the refusal of the other rank")

        ring.ranks[0].press(pressure("near", rank=0))  # keeps nobody off
        name, _ = ask(ring, Finished)
        assert ring.tokens(name) == expected


def test_over_the_bound_the_youngest_answer_is_ended_and_the_ring_lives() -> None:
    with Ring(make_plan([1, 1])) as ring:
        ring.submit("old", [1, 2, 3], 400)
        ring.wait(lambda: ring.tokens("old"), "the old one's first token")
        ring.submit("young", [4, 5, 6], 4000)
        ring.wait(lambda: ring.tokens("young"), "the young one's first token")
        ring.ranks[0].press(pressure("over"))
        ring.wait(lambda: ring.messages(Refused, "young"), "the end of the young one")
        assert "was ended" in ring.messages(Refused, "young")[0].cause
        assert ring.finished("old").reason == "length"
        assert not ring.messages(Finished, "young")
        ring.ranks[0].press(pressure("calm"))
        ask(ring, Finished)
