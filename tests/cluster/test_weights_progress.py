"""What is told while weights move: bytes, the rate of the last seconds, and the time that is left."""

from console.cluster.weights_progress import Progress, telling
from ringcore.spec.units import MIB
from tests.cluster.reach import Heard


def test_the_rate_is_that_of_the_last_seconds_not_of_all_that_passed() -> None:
    progress = Progress(1000 * MIB)
    began = progress.began
    for second in range(1, 11):
        progress.moved(50 * MIB)
        text = progress.text(began + second)
    assert text == "500 MiB of 1000 MiB, 50.0 MiB/s, 10 s left"
    for second in range(11, 17):
        progress.moved(5 * MIB)
        text = progress.text(began + second)
    assert text == "530 MiB of 1000 MiB, 5.0 MiB/s, 94 s left"
    assert progress.share == 0.53


def test_nothing_to_move_is_all_done_and_a_share_never_leaves_its_bounds() -> None:
    assert Progress(0).share == 1.0
    progress = Progress(10)
    progress.moved(-4)
    assert progress.share == 0.0
    progress.moved(40)
    assert progress.share == 1.0


async def test_the_first_event_names_what_is_done_and_how_much() -> None:
    heard = Heard()
    async with telling(heard, "h1", Progress(3 * MIB), "sending weights to /m"):
        pass
    (step,) = heard.steps
    assert (step.step, step.status, step.command) == ("weights", "active", "sending weights to /m")
    assert step.detail == "sending weights to /m: 3.0 MiB"
