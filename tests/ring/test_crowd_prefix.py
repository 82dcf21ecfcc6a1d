"""Crowds on real rings that keep too little: blocks come and go all the time, in memory and in files.

Requests decode together and leave in the middle, and each answers as alone in mlx-lm, without any cache.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ringcore.planning.prefix import BLOCK_TOKENS
from ringcore.spec.engine import Cancel, Started
from tests.models.running import greedy_by_mlx_lm
from tests.models.small import VOCABULARY, build
from tests.ring.harness import REAL, Ring
from tests.ring.test_greedy import measured

B = BLOCK_TOKENS
COUNT = 20
BEGINNINGS = (3 * B + 5, 2 * B, B + 40, 4 * B - 1)  # tokens that four requests each have in common
TAILS = (1, 30, 9, B)
PLACES, FILES = 9, 14  # the sixteen have about sixty blocks
CANCELLED = (2, 7, 9, 12)


def prompt(number: int) -> list[int]:
    family, tail = number % len(BEGINNINGS), TAILS[number // len(BEGINNINGS)]
    common = [(37 * i + 29 * family + i * i) % VOCABULARY for i in range(BEGINNINGS[family])]
    return [*common, *((53 * i + 17 * number + 5) % VOCABULARY for i in range(tail))]


@pytest.fixture(scope="module", params=["llama", "qwen3_next"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of keys and values alone; and of states too, where blocks are stored while the crowd goes on."""
    folder = tmp_path_factory.mktemp("crowd") / request.param
    return build(request.param, folder, layers=5, tie_word_embeddings=True)


@pytest.fixture(scope="module")
def alone(model: Path) -> list[list[int]]:
    return [greedy_by_mlx_lm(model, prompt(number), COUNT) for number in range(16)]


def crowd(ring: Ring, wave: int, alone: Sequence[list[int]]) -> None:
    """All sixteen at once, in another order each time; some leave when they have said a little."""
    order = [(7 * each + 3 * wave) % 16 for each in range(16)]
    for number in order:
        ring.submit(f"{wave}.{number}", prompt(number), COUNT)
    for number in CANCELLED:
        name = f"{wave}.{number}"
        ring.wait(lambda name=name, heard=number % 5: len(ring.tokens(name)) >= heard, f"words of {name}")
        ring.send(Cancel(id=name))
    for number in order:
        reason = ring.finished(f"{wave}.{number}").reason
        answer = ring.tokens(f"{wave}.{number}")
        assert answer == alone[number][: len(answer)], (wave, number)
        assert reason == "length" or number in CANCELLED
        assert (len(answer) == COUNT) == (reason == "length")


def counted(ring: Ring) -> set[object]:
    """What ranks last said of blocks in memory, as far as all must say the same. Not how many went: a rank
    that read more from its files than the next one could has those go again."""
    used = [rank.memory[-1].prefix if rank.memory else None for rank in ring.ranks]
    return {each and (each.blocks, each.hits, each.reused_tokens) for each in used}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "order", "head_rows"),
    [([2, 3], "reverse", 0), ([1, 3, 1], "forward", 0), ([2, 3], "reverse", 128)],
    ids=["two", "three-forward", "two that share the head"],
)
def test_a_crowd_over_too_few_blocks_answers_as_each_does_alone(
    counts: list[int], order: str, head_rows: int, model: Path, alone: list[list[int]], tmp_path: Path
) -> None:
    plan = measured(
        counts,
        order,
        model,
        sequences=6,
        prefill_chunk=32,
        prefix_blocks=PLACES,
        prefix_disk_blocks=FILES,
        head_rows=head_rows,
    )
    for life in range(2):
        with Ring(plan, module=REAL, model=model, prefix=tmp_path / "prefix") as ring:
            for wave in range(3):
                crowd(ring, 3 * life + wave, alone)
            ring.wait(lambda: len(counted(ring)) == 1, "all ranks at rest to have counted the same")
            used = [rank.memory[-1].prefix for rank in ring.ranks]
            started = ring.messages(Started)
            assert ring.quit() == [0] * len(counts)
        for each in used:
            assert each.blocks <= PLACES and each.evicted > 0, used
        assert sum(each.cached_tokens > 0 for each in started) >= 8
        if life:  # what was there when the ring began lay in files
            assert started[0].cached_tokens or any(each.cached_tokens for each in started[:6])
        files = {path.name.partition(".")[0] for path in tmp_path.glob("prefix/0/*/*.safetensors")}
        assert 0 < len(files) <= FILES
