"""The comparison with mlx-lm: what it computes from times, and one quick run of all of it to its end."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from benchmarks import results
from benchmarks.children import Child, ChildFailed
from benchmarks.contenders import shared
from benchmarks.machine import choose_cores
from benchmarks.plan import arguments_of, measures_of, sizes_of
from benchmarks.tasks import Task, figure, stall_gaps
from console.bench.completions import Answer
from console.bench.prompts import Prompts

REPOSITORY = Path(__file__).parents[2]


def an_answer(*arrivals: float, began: float = 0.0, prompt: int = 10) -> Answer:
    return Answer(
        began=began,
        ended=arrivals[-1],
        arrivals=arrivals,
        prompt_tokens=prompt,
        tokens=len(arrivals),
        reason="length",
    )


DECODE = Task(kind="decode", prompts=((1,), (2,)), tokens=3)
STALL = Task(kind="stall", prompts=((1,),), tokens=9, late=(2,), lead=2)


def test_rates_of_processes_side_by_side_add_up() -> None:
    one, other = [an_answer(1.0, 2.0, 3.0)], [an_answer(5.0, 5.5, 6.0)]
    assert figure(DECODE, [one, other]) == pytest.approx(1.0 + 2.0)
    prefill = Task(kind="prefill", prompts=((1,),), tokens=1)
    assert figure(prefill, [[an_answer(2.0)], [an_answer(4.0)]]) == pytest.approx(5.0 + 2.5)


def test_answers_that_never_ran_together_are_no_figure() -> None:
    with pytest.raises(ValueError, match="never ran together"):
        figure(DECODE, [[an_answer(1.0, 2.0), an_answer(3.0, 4.0)]])


def test_a_stall_counts_every_gap_that_touches_the_late_prompts_time_and_no_other() -> None:
    stream = an_answer(1.0, 2.0, 3.0, 7.0, 8.0, 12.0)
    late = an_answer(7.5, began=3.5)
    assert stall_gaps(STALL, [stream, late]) == [4.0, 1.0]
    assert figure(STALL, [[stream, late]]) == pytest.approx(4.0, rel=0.01)


def test_without_a_late_prompt_the_gaps_after_the_lead_count() -> None:
    alone = msgspec.structs.replace(STALL, late=())
    assert stall_gaps(alone, [an_answer(1.0, 5.0, 6.0, 7.5)]) == [1.0, 1.5]
    while_another_begins = [an_answer(1.0, 2.0, 3.0, 9.0, 10.0, 12.0), an_answer(4.0, 9.0, 10.0)]
    assert stall_gaps(alone, while_another_begins) == [1.0, 2.0, 1.0]


def test_side_by_side_shares_prompts_and_repeats_a_single_one() -> None:
    four = Task(kind="decode", prompts=((1,), (2,), (3,), (4,)), tokens=2)
    assert [part.prompts for part in shared(four, 2)] == [((1,), (3,)), ((2,), (4,))]
    assert [part.prompts for part in shared(STALL, 3)] == [((1,),)] * 3


def test_ratios_are_above_one_where_the_ring_is_ahead_whatever_the_unit() -> None:
    rate = results.measure("rate", "tok/s", {"ring": [20.0, 30.0, 40.0], "mlx-lm": [10.0]})
    gap = results.measure("gap", "s", {"ring": [0.1], "mlx-lm": [0.4]}, more_is_better=False)
    assert rate.ratios == {"mlx-lm": pytest.approx(3.0)}
    assert gap.ratios == {"mlx-lm": pytest.approx(4.0)}
    assert (rate.spreads["ring"].low, rate.spreads["ring"].high) == (20.0, 40.0)


def test_the_rings_context_holds_the_late_prompt_and_its_sequences_the_streams() -> None:
    asked = arguments_of(["--late-tokens", "4000", "--at-once", "1,12"])
    sequences, context = sizes_of(asked)
    assert sequences >= 12 and context > 4000 + asked.tokens
    names = [measured.name for measured in measures_of(asked)]
    assert names[:2] == ["decode, 1 at once", "decode, 12 at once"]
    assert names[-1] == "4 streams while 4000 tokens arrive"


def test_each_round_asks_what_nobody_has_seen() -> None:
    prompts = Prompts(512)
    (measured, *_) = measures_of(arguments_of(["--at-once", "4"]))
    first, second = measured.task(prompts), measured.task(prompts)
    assert len({*first.prompts, *second.prompts}) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        ["--models", "none-such"],
        ["--measures", "x"],
        ["--at-once", "1,x"],
        ["--layers", "15,0"],
        ["--layers", "10,10,10"],
        ["--repeat", "0"],
    ],
)
def test_wrong_options_are_refused_before_anything_starts(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments_of(wrong)
    assert caught.value.code == 2
    assert wrong[0] in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="cores can be chosen on Linux only")
def test_contenders_share_as_many_cores_as_the_ring_has_ranks() -> None:
    allowed = sorted(os.sched_getaffinity(0))
    theirs, client = choose_cores(1)
    assert theirs == tuple(allowed[:1])
    assert client == (tuple(allowed[1:]) or theirs)


async def test_a_process_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    child = await Child.start(
        "the reference",
        "benchmarks.reference",
        [str(tmp_path / "nothing-here"), "--no-such-option"],
        log=tmp_path / "log",
        cores=(),
        environment=os.environ,
    )
    try:
        with pytest.raises(ChildFailed, match=r"the reference ended(?s:.)*--no-such-option"):
            await child.line(60)
    finally:
        await child.end(5)


async def test_a_reference_without_a_model_says_what_is_missing_and_ends(tmp_path: Path) -> None:
    child = await Child.start(
        "the reference",
        "benchmarks.reference",
        [str(tmp_path)],
        log=tmp_path / "log",
        cores=(),
        environment=os.environ,
    )
    try:
        assert b"config.json" in await child.line(60)
        with pytest.raises(ChildFailed, match="ended with 1"):
            await child.success(30)
    finally:
        await child.end(5)


def test_a_quick_comparison_runs_to_its_end_and_writes_what_its_schema_accepts(tmp_path: Path) -> None:
    out = tmp_path / "comparison.json"
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", "--quick", "--out", str(out)],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = results.read(out)
    (model,) = found.models
    contenders = {"ring", "mlx-lm", "mlx-lm --pipeline", "side by side"}
    assert set(model.computes_with) == contenders
    assert len(set(model.computes_with.values())) == 1, model.computes_with
    idle, *rest = model.measures
    assert idle.values.keys() == {"ring"}
    for measure in rest:
        assert measure.values.keys() == contenders - (set() if measure.more_is_better else {"side by side"})
        for values in measure.values.values():
            assert len(values) == found.settings.repeat and min(values) >= 0
    assert {"mlx", "mlx-lm"} <= found.versions.keys()
    assert "mlx-lm --pipeline" in ran.stdout
    assert left_in(tmp_path) == []


def test_an_interrupt_ends_all_that_a_comparison_started(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.compare", "--quick", "--out", str(tmp_path / "none.json")],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "starting mlx-lm" in line:  # the ring serves by now
            break
    assert left_in(tmp_path)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert left_in(tmp_path) == []
    assert not (tmp_path / "none.json").exists()


@pytest.mark.slow
def test_a_comparison_that_is_killed_leaves_no_process(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.compare", "--quick", "--out", str(tmp_path / "none.json")],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "starting side by side" in line:
            break
    process.kill()
    process.communicate(timeout=10)
    deadline = time.monotonic() + 60
    while left := left_in(tmp_path):
        assert time.monotonic() < deadline, left
        asyncio.run(asyncio.sleep(0.05))


def left_in(folder: Path, prefix: str = "mlxring-compare-") -> list[list[str]]:
    """Command lines of processes that have to do with ``folder``."""
    found = []
    for process in psutil.process_iter():
        try:
            line, where = process.cmdline(), process.cwd()
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
        except psutil.Error:
            continue
        inside = any(f"{folder}/{prefix}" in part for part in (*line, where))
        if inside:
            found.append(line)
    return found
