"""Blocks on other hosts: asked for once, waited for once, and never twice what did not come."""

from ringcore.engine.elsewhere import Elsewhere
from ringcore.spec.control import Bring, Brought

NAMES = [bytes([number] * 16) for number in range(8)]
SMALL, HUGE = 1 << 10, 1 << 40


class World:
    def __init__(self, here: set[int] = frozenset(), seconds_per_token: float = 0.0) -> None:
        self.asked: list[Bring] = []
        self.said: list[str] = []
        self.elsewhere = Elsewhere(
            64,
            lambda name: NAMES.index(name) in here,
            self.asked.append,
            self.said.append,
            lambda: seconds_per_token,
        )

    def there(self, *numbers: int, size: int = SMALL) -> None:
        self.elsewhere.there([(NAMES[number].hex(), size) for number in numbers])

    def order(self, *numbers: int) -> int | None:
        return self.elsewhere.order([NAMES[number] for number in numbers])

    def blocks(self) -> list[list[int]]:
        return [[NAMES.index(bytes.fromhex(name)) for name in order.blocks] for order in self.asked]


def test_what_lies_on_other_hosts_is_asked_for_in_order_of_the_prompt() -> None:
    world = World(here={0, 1, 3})
    world.there(1, 2, 4, 6)
    assert world.order(0, 1, 2, 3, 4, 5, 6) == 1
    assert world.blocks() == [[1, 2, 4]], "5 is nowhere: what follows is of no use"
    assert world.asked[0].seconds >= 1
    assert world.said == ["bringing 256 tokens: 3.0 KiB from other hosts take about 0.10 s, computing 1.28 s"]


def test_nothing_is_asked_for_where_all_is_in_place_or_nowhere() -> None:
    world = World(here={0, 1})
    world.there(3)
    assert world.order(0, 1, 2, 3) is None
    assert world.order() is None
    assert world.asked == world.said == []


def test_what_is_dearer_to_move_is_computed_and_the_log_says_so() -> None:
    world = World()
    world.there(0, 1, size=HUGE)
    assert world.order(0, 1) is None
    assert world.order(0, 1) is None
    assert world.asked == []
    assert [text[:48] for text in world.said] == ["computing 128 tokens: 2.0 TiB from other hosts t"]
    quick = World(seconds_per_token=1e-5)
    quick.there(0, 1)
    assert quick.order(0, 1) is None


def test_a_block_that_is_not_in_place_is_not_read_from_the_leaders_files() -> None:
    world = World(here={0, 1})
    world.there(1)
    assert world.elsewhere.in_place(NAMES[0]) and not world.elsewhere.in_place(NAMES[1])
    assert not world.elsewhere.in_place(NAMES[2])


def test_two_sequences_wait_for_one_order() -> None:
    world = World()
    world.there(0, 1, 2)
    assert world.order(0, 1) == 1
    assert world.order(0, 1, 2) == 1
    world.elsewhere.came(Brought(id=1, count=2, bytes=1, seconds=0.1))
    assert world.order(0, 1, 2) == 2
    assert world.blocks() == [[0, 1], [2]]


def test_who_would_wait_too_long_behind_others_computes() -> None:
    world = World()
    size = 40_000_000  # 0.8 s as assumed; 320 tokens take 1.6 s to compute, 64 tokens 0.32 s
    world.there(0, size=size)
    world.there(1, size=1)
    assert world.order(0, 2, 3) is None, "64 tokens are computed sooner"
    world.there(2, 3, 4, 5, size=1)
    assert world.order(0, 2, 3, 4, 5) == 1
    assert world.order(1) is None and world.said[-1].startswith("computing 64 tokens: 1 B from other hosts")
    world.elsewhere.came(Brought(id=1, count=5, bytes=size, seconds=0.9))
    assert world.order(1) == 2


def test_what_came_is_in_place_and_what_did_not_is_not_asked_for_again() -> None:
    world = World()
    world.there(0, 1, 2)
    assert world.order(0, 1, 2) == 1
    world.elsewhere.came(Brought(id=1, count=1, seconds=2.0, cause="2.0 s were not enough"))
    assert [world.elsewhere.in_place(name) for name in NAMES[:3]] == [True, False, False]
    assert world.order(0, 1, 2) is None and len(world.asked) == 1
    assert world.said[-1] == "1 of 3 blocks came from other hosts in 2.00 s: 2.0 s were not enough"


def test_an_answer_that_nobody_waits_for_changes_nothing() -> None:
    world = World()
    world.there(0)
    world.elsewhere.came(Brought(id=7, count=1))
    assert not world.elsewhere.in_place(NAMES[0]) and world.order(0) == 1


def test_after_all_is_forgotten_nothing_is_expected_to_be_there() -> None:
    world = World()
    world.there(0, 1)
    assert world.order(0) == 1
    world.elsewhere.clear()
    world.elsewhere.came(Brought(id=1, count=1, seconds=0.1))
    assert not world.elsewhere.in_place(NAMES[0])
    assert world.order(0, 1) is None
