"""A screen on which nothing changes does nothing: no timer repeats, nothing is drawn."""

import pytest

from tests.screen import fake
from tests.screen.driver import Open, opened

FRAMEWORK = {"Animator", "auto_refresh"}


def timers(it: Open) -> list[str]:
    """Timers of the app and of every widget that are not paused."""
    nodes = [it.app, *it.app.screen_stack, *it.app.query("*")]
    return [
        timer.name
        for node in nodes
        for timer in node._timers
        if timer._active.is_set() and timer.name not in FRAMEWORK
    ]


@pytest.mark.parametrize("name", ["empty", "serving", "rank_killed"])
async def test_no_timer_runs_while_nothing_changes(name: str) -> None:
    async with opened(getattr(fake, name)()) as it:
        await it.until(lambda: not timers(it))
        assert it.app._animator._timer is None or not it.app._animator._timer._active.is_set()


async def test_no_timer_runs_after_an_answer() -> None:
    async with opened(fake.serving()) as it:
        await it.ask("why")
        await it.until(lambda: bool(it.cluster.finished_chats) and not it.prompt.answering)
        await it.until(lambda: not timers(it))


async def test_a_busy_ring_is_drawn_some_ten_times_a_second_however_much_happens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    async with opened(fake.serving()) as it:
        show = it.app._header.show
        monkeypatch.setattr(it.app._header, "show", lambda picture: (drawn.append(1), show(picture)))
        for _ in range(50):
            it.cluster.play(fake.serving_busy())
        await it.settle()
        assert 1 <= len(drawn) <= 3
