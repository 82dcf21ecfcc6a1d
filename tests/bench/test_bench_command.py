"""``mlxring bench`` over a real ring of two ranks with a tiny model, as an operator runs it."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from console.bench.report import Bench
from tests.gateway.small_tokenizer import write_tokenizer
from tests.models.small import build
from tests.whole.harness import Operator, until


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("bench")
    model = write_tokenizer(folder / "model")
    build("llama", model, vocab_size=320)
    operator = Operator(folder, Path(model), ring={"context": 512, "sequences": 2})
    try:
        up = operator.run("up")
        assert up.code == 0, up.err
        yield operator
        operator.run("down")
    finally:
        operator.clear()


def test_it_measures_every_level_that_the_profile_allows(ring: Operator) -> None:
    ran = ring.run("bench", "--json", "--prompt-tokens", "20", "--tokens", "12", "--repeat", "2")
    assert ran.code == 0, ran.err
    bench = msgspec.json.decode(ran.out, type=Bench)
    assert [level.concurrency for level in bench.levels] == [1, 2]  # of 1, 2, 4, 8: sequences is 2
    for level in bench.levels:
        assert level.rounds == 2
        assert level.tokens + 12 * level.ended_early >= 2 * 12 * level.concurrency
        assert level.prompt_rate.count == 2 and level.prompt_rate.low > 0
        assert level.first_token.count == 2 * level.concurrency
        assert [(stage.rank, stage.host, stage.known) for stage in level.stages] == [
            (0, "h0", True),
            (1, "h1", True),
        ]
        assert all(stage.steps > 0 and stage.busy_share > 0 for stage in level.stages)
    assert "2 at once, round 2 of 2" in ran.err


def test_more_at_once_than_the_ring_runs_is_measured_when_asked_for(ring: Operator) -> None:
    ran = ring.run("bench", "--concurrency", "3", "--prompt-tokens", "8", "--tokens", "4", "--repeat", "1")
    assert ran.code == 0, ran.err
    assert "at once  prompt tok/s" in ran.out
    assert " h1 " in ran.out


def test_what_does_not_fit_the_context_is_refused_with_the_numbers(ring: Operator) -> None:
    ran = ring.run("bench", "--prompt-tokens", "500", "--tokens", "13")
    assert ran.code == 2
    assert "513" in ran.err and "512" in ran.err and "--prompt-tokens" in ran.err


@pytest.mark.parametrize("wrong", ["0", "1,x", "", "1,999"])
def test_a_list_of_levels_that_is_none_is_wrong_usage(ring: Operator, wrong: str) -> None:
    ran = ring.run("bench", "--concurrency", wrong)
    assert ran.code == 2
    assert "such as 1,2,4" in ran.err


def test_an_interrupt_breaks_off_and_frees_the_ring(ring: Operator) -> None:
    before = counts(ring)
    process = ring.start("bench", "--prompt-tokens", "16", "--tokens", "490", "--repeat", "100")
    assert process.stderr is not None
    for line in process.stderr:
        if "round 2" in line:
            break
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == "" and "Traceback" not in err

    def at_rest() -> bool:
        now = counts(ring)
        return now[0][0] > before[0][0] and all(in_flight == 0 for _, in_flight in now)

    until(at_rest, 20)


def test_without_a_ring_it_ends_with_8_and_says_how_to_start_one(tmp_path: Path) -> None:
    ran = Operator(tmp_path, tmp_path).run("bench")
    assert ran.code == 8, ran.err
    assert "mlxring up" in ran.err


def counts(ring: Operator) -> list[tuple[int, int]]:
    """Steps and steps in flight of each rank."""
    hosts = json.loads(ring.run("status", "--json").out)["state"]["hosts"]
    return [(host["count"]["steps"], host["count"].get("in_flight", 0)) for host in hosts]
