"""The figures of the prefix cache: what is computed from times, and one quick run of all of it to its end."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from benchmarks import prefix_results
from benchmarks.machine import describe
from benchmarks.prefix import arguments_of
from benchmarks.prefix_rings import splits, turned
from tests.bench.test_compare import REPOSITORY, left_in


def test_a_share_is_of_the_cold_prompt_beside_it_not_of_another_round() -> None:
    found = prefix_results.seen("from memory", [(4.0, 0.4), (8.0, 0.8), (2.0, 0.3)], [64, 64, 64])
    assert (found.share.median, found.share.high) == (pytest.approx(0.1), pytest.approx(0.15))
    assert (found.over_cold.median, found.over_seconds.median) == (4.0, 0.4)
    assert found.aim == 0.1


def test_what_a_cache_costs_is_compared_round_by_round() -> None:
    values = {"off": [1.0, 2.0, 4.0], "memory": [1.1, 2.0, 4.4]}
    found = prefix_results.cost("time", "s", values)
    assert found.more.keys() == {"memory"}
    assert found.more["memory"].median == pytest.approx(0.1)
    assert found.more["memory"].low == 0


def test_bytes_are_compared_with_those_of_keys_and_values() -> None:
    stored = prefix_results.Stored(where="files", tokens=64, bytes=1010, least_bytes=1000)
    assert stored.more == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("layers", "ranks", "equal", "moved"),
    [(30, 2, (15, 15), (13, 17)), (4, 2, (2, 2), (1, 3)), (5, 3, (2, 2, 1), (1, 3, 1)), (4, 1, (4,), (4,))],
)
def test_one_or_two_layers_move_and_no_rank_is_left_without(
    layers: int, ranks: int, equal: tuple[int, ...], moved: tuple[int, ...]
) -> None:
    assert splits(layers, ranks) == (equal, moved)


def test_each_round_begins_with_another_ring() -> None:
    assert [turned("abc", number)[0] for number in range(4)] == ["a", "b", "c", "a"]
    assert sorted(turned("abc", 2)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "wrong", [["--seen", "2000"], ["--seen", "63"], ["--repeat", "0"], ["--measures", "x"]]
)
def test_wrong_options_are_refused_before_anything_starts(wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        arguments_of(wrong)
    assert caught.value.code == 2


def test_the_table_says_every_figure_and_how_many_tokens_were_not_computed() -> None:
    found = prefix_results.Found(
        machine=describe((0, 1), (0, 1), 0.0),
        versions={},
        commit="c" * 40,
        settings=prefix_results.Settings(
            model="tiny", about="small", computes_with="cpu", ranks=2, layers=(2, 2), moved=(1, 3), repeat=1,
            prompt_tokens=200, seen_tokens=190, block_tokens=64, context=712, sequences=2, memory="1 MiB",
            disk="4 MiB", started="",
        ),
        seen=(prefix_results.seen("from disk after a restart", [(2.0, 0.5)], [128]),),
        stored=(prefix_results.Stored(where="files", tokens=64, bytes=64_640, least_bytes=64_000),),
        costs=(prefix_results.cost("time", "s a prompt", {"off": [2.0], "memory": [2.02]}),),
    )  # fmt: skip
    text = prefix_results.table(found)
    for figure in (
        "0.500",
        "cold 2.000",
        "of cold 0.250",
        "aim 0.25; 128 tokens",
        "1,010, +1.00 %",
        "+1.0 %",
    ):
        assert figure in text, text


@pytest.mark.slow
def test_a_quick_run_ends_with_figures_of_everything_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "prefix.json"
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.prefix", "--quick", "--out", str(out)],
        cwd=REPOSITORY, env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, timeout=170, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = msgspec.json.decode(out.read_bytes(), type=prefix_results.Found)
    memory, disk, moved = found.seen
    assert memory.cached_tokens == disk.cached_tokens == (256, 256)
    assert len(moved.cached_tokens) == 2
    for each in found.seen:
        assert len(each.seconds) == len(each.cold) == 2 and min(each.seconds) > 0
    in_memory, in_files = found.stored
    assert in_memory.more == 0 and 0 < in_files.more < 0.5
    for cost in found.costs:
        assert cost.values.keys() == {"off", "memory", "memory and disk"}
        assert cost.more.keys() == {"memory", "memory and disk"}
    assert "from disk after layers moved" in ran.stdout
    assert left_in(tmp_path, "mlxring-prefix-") == []
