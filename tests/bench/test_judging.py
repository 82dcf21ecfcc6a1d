"""What the times of some answers say: rates, windows, early ends, busy stages, and the table of it."""

import asyncio

import msgspec
import pytest

from console.bench.completions import Answer
from console.bench.report import Bench, level, table
from console.bench.rounds import judge, together
from console.bench.stages import Stages, StageUse, use
from ringcore.spec.events import Recorded, StepCount


def an_answer(
    arrivals: tuple[float, ...], *, tokens: int = 0, prompt: int = 10, ended: float = 0.0
) -> Answer:
    return Answer(
        began=100.0,
        ended=ended or arrivals[-1],
        arrivals=arrivals,
        prompt_tokens=prompt,
        tokens=tokens or len(arrivals),
        reason="length",
    )


def every(seconds: float, start: float, count: int) -> tuple[float, ...]:
    return tuple(start + seconds * n for n in range(count))


def test_one_answers_decode_rate_is_that_of_its_tokens_after_the_first() -> None:
    found = judge([an_answer(every(0.5, 102.0, 9))], 9)
    assert found.decode_rate == pytest.approx(2.0)
    assert found.prompt_rate == pytest.approx(5.0)
    assert found.first_token == (2.0,)
    assert found.gaps == (0.5,) * 8
    assert found.ended_early == 0


def test_rates_of_several_count_only_while_all_are_decoding() -> None:
    early = an_answer(every(0.5, 101.0, 11))  # 101.0..106.0
    late = an_answer(every(0.5, 103.0, 11))  # 103.0..108.0
    found = judge([early, late], 11)
    assert found.decode_rate == pytest.approx(4.0)  # both, in 103.0..106.0
    assert found.window_tokens == 12
    assert found.prompt_rate == pytest.approx(20 / 3.0)
    assert len(found.gaps) == 12


def test_an_early_end_shortens_the_window_and_is_counted() -> None:
    found = judge([an_answer(every(0.5, 101.0, 3)), an_answer(every(0.5, 101.0, 21))], 21)
    assert found.ended_early == 1
    assert found.window_tokens == 4
    assert found.decode_rate == pytest.approx(4.0)


def test_answers_that_never_run_together_have_no_decode_rate() -> None:
    found = judge([an_answer((101.0, 102.0)), an_answer((105.0, 106.0))], 2)
    assert found.decode_rate is None
    assert level(2, [found], [[]]).decode_rate.count == 0


def test_pieces_of_several_tokens_stand_for_all_of_them() -> None:
    assert judge([an_answer(every(1.0, 101.0, 5), tokens=15)], 15).decode_rate == pytest.approx(3.0)


def test_an_answer_without_text_has_its_first_token_at_its_end() -> None:
    silent = Answer(began=1.0, ended=3.0, arrivals=(), prompt_tokens=4, tokens=1, reason="stop")
    found = judge([silent], 8)
    assert found.decode_rate is None
    assert found.first_token == (2.0,)


def counted(rank: int, steps: int, busy: float, link: float) -> StepCount:
    return StepCount(rank=rank, steps=steps, busy_seconds=busy, link_seconds=link)


def test_a_stages_shares_are_the_difference_of_its_counters_over_the_round() -> None:
    found = use(1, "b", counted(1, 100, 5.0, 2.0), counted(1, 120, 8.0, 3.0), 4.0)
    assert found.known and found.steps == 20
    assert found.busy_share == pytest.approx(0.75)
    assert found.link_share == pytest.approx(0.25)
    assert found.link_milliseconds == pytest.approx(50)


def test_a_rank_without_counters_or_started_anew_is_not_known() -> None:
    assert not use(0, "a", None, None, 1.0).known
    assert not use(0, "a", counted(0, 100, 5.0, 2.0), counted(0, 3, 0.1, 0.1), 1.0).known


async def test_the_counters_that_come_after_a_round_still_belong_to_it() -> None:
    stages = Stages(("a", "b"))

    def say(count: StepCount) -> None:
        stages(Recorded(host="ab"[count.rank], seq=1, time=0.0, event=count))

    say(counted(0, 10, 1.0, 0.0))
    say(counted(1, 10, 1.0, 0.0))
    before = stages.before()
    after = asyncio.create_task(stages.after(before, 2.0))
    await asyncio.sleep(0)
    say(counted(0, 30, 2.0, 0.5))
    say(counted(1, 30, 3.0, 0.0))
    uses = await after
    assert [(each.host, each.steps, each.busy_share) for each in uses] == [("a", 20, 0.5), ("b", 20, 1.0)]


async def test_one_error_ends_the_others_and_is_the_one_that_is_raised() -> None:
    ended = asyncio.Event()

    async def goes_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def fails() -> None:
        await asyncio.sleep(0)
        raise LookupError("this one")

    with pytest.raises(LookupError, match="this one"):
        await together([goes_on(), fails()])
    assert ended.is_set()


def test_the_table_tells_each_level_each_stage_and_what_ended_early() -> None:
    found = judge([an_answer(every(0.5, 101.0, 3)), an_answer(every(0.5, 101.0, 21))], 21)
    uses = [
        StageUse(rank=0, host="left", known=True, steps=7, busy_share=0.5),
        StageUse(rank=1, host="right"),
    ]
    bench = Bench(
        ring="r", model="m", ranks=2, prompt_tokens=10, max_tokens=21, repeat=1, sequences=4,
        levels=(level(2, [found], [uses]),),
    )  # fmt: skip
    text = table(bench)
    assert "4.0 (4.0..4.0)" in text
    assert "50%" in text and "left" in text and "right" in text
    assert "1 answers ended before 21 tokens" in text
    assert msgspec.json.decode(msgspec.json.encode(bench), type=Bench) == bench
