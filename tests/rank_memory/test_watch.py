"""When a rank says that its memory is short, how loud, and when it is calm again."""

from types import SimpleNamespace

import pytest

from ringcore.rank import memory as module
from ringcore.rank.gauges import Reading
from ringcore.rank.memory import AGAIN_SECONDS, CHECK_SECONDS, MemoryWatch
from ringcore.spec.events import MemoryPressure

STEP, SPARE, LIMIT = 100, 800, 10_000


class World:
    """A bound of 10,000 bytes of which 800 should stay free beside 100 that are coming. Time passes."""

    def __init__(self, clock: SimpleNamespace) -> None:
        self.clock = clock
        self.left = LIMIT
        self.ahead = STEP
        self.deadly = True
        self.steps = True
        self.gone = False
        self.said: list[MemoryPressure] = []
        self.watch = MemoryWatch(1, "mini2", lambda: self.ahead, [self._read], self.said.append)

    def _read(self) -> Reading | None:
        if self.gone:
            return None
        used = LIMIT - self.left
        return Reading(
            used=used, limit=LIMIT, spare=SPARE, source="a test", deadly=self.deadly, steps=self.steps
        )

    def look(self, left: int, seconds: float = CHECK_SECONDS) -> list[str]:
        """Levels said at this look."""
        self.left = left
        before = len(self.said)
        self.clock.seconds += seconds
        self.watch.check()
        return [each.level for each in self.said[before:]]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    clock = SimpleNamespace(seconds=100.0)
    clock.monotonic = lambda: clock.seconds
    monkeypatch.setattr(module, "time", clock)
    return World(clock)


def test_a_rank_with_room_says_nothing(world: World) -> None:
    assert world.look(LIMIT) == world.look(STEP + SPARE // 2) == []
    assert world.watch.calm


def test_the_nearer_the_bound_the_louder(world: World) -> None:
    assert world.look(STEP + 399) == ["near"]
    assert world.look(STEP + 199) == ["full"]
    assert world.look(STEP + 99) == ["over"]
    assert not world.watch.calm
    assert world.said[-1] == MemoryPressure(
        rank=1,
        host="mini2",
        level="over",
        used_bytes=LIMIT - STEP - 99,
        limit_bytes=LIMIT,
        source="a test",
        over_bytes=500 - 99,
    )


def test_a_level_ends_an_eighth_above_where_it_began(world: World) -> None:
    assert world.look(STEP + 199) == ["full"]
    assert world.look(STEP + 299) == []
    assert world.look(STEP + 300) == ["near"]
    assert world.look(STEP + 499) == []
    assert world.look(STEP + 500) == ["calm"]
    assert world.said[-1].over_bytes == 0


def test_while_it_lasts_it_is_said_again_but_not_all_the_time(world: World) -> None:
    world.look(STEP + 199)
    rounds = int(10 / CHECK_SECONDS)
    said = [level for _ in range(rounds) for level in world.look(STEP + 199)]
    assert said == ["full"] * int(10 / AGAIN_SECONDS["full"])


def test_it_does_not_look_more_often_than_is_worth_it(world: World) -> None:
    assert world.look(0, seconds=CHECK_SECONDS) == ["over"]
    assert world.look(LIMIT, seconds=CHECK_SECONDS / 2) == []
    assert world.look(LIMIT, seconds=CHECK_SECONDS / 2) == ["calm"]


def test_what_is_still_to_come_must_fit_too(world: World) -> None:
    world.ahead = 0
    assert world.look(SPARE // 2) == []
    world.ahead = STEP
    assert world.look(SPARE // 2) == ["near"]
    world.steps = False
    assert world.look(SPARE) == ["calm"] and world.look(SPARE // 2) == []


def test_it_looks_at_once_when_much_was_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    held = module.mx.get_active_memory()
    assert world.look(LIMIT) == []
    assert world.look(0, seconds=0.001) == []
    monkeypatch.setattr(module.mx, "get_active_memory", lambda: held + (2 << 20))
    assert world.look(0, seconds=0.001) == ["over"]


def test_nobody_is_ended_over_a_bound_that_kills_nobody(world: World) -> None:
    world.deadly = False
    assert world.look(-5000) == ["full"]


def test_a_bound_that_is_gone_bounds_nothing(world: World) -> None:
    world.gone = True
    assert world.look(0) == []


def test_what_nobody_misses_is_given_up_before_anybody_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed: list[bool] = []

    def give_up() -> None:
        freed.append(True)
        world.left += 1000

    monkeypatch.setattr(module, "give_up_free_pages", give_up)
    assert world.look(LIMIT) == [] and not freed
    assert world.look(STEP) == [] and freed
