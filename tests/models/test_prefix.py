"""What a hit gives is what computing gives: for every verified architecture, in any number of stages, alone
and among others."""

from pathlib import Path

import pytest

from ringcore.cache import kinds
from ringcore.engine.step import Operation
from ringcore.models.stage import ModelStage
from ringcore.planning import architectures
from ringcore.planning.prefix import BLOCK_TOKENS, block_bytes, block_tokens
from tests.checkpoint.files import read_card
from tests.models.configs.common import VOCABULARY
from tests.models.in_process import InProcess
from tests.models.running import load
from tests.models.small import build

LAYERS = 5
# Of some families whose caches are of windows, states, lists of both.
WITHOUT_EVERY_TOKEN = ("gpt_oss", "falcon_h1", "baichuan_m1", "gear", "recurrent_gemma", "mamba2", "rwkv7")
ANSWER = 24
# Keys and values of every token, windows, states, chunks.
SOME = ("llama", "gpt_oss", "qwen3_next", "llama4")


def prompt(length: int, seed: int = 0) -> list[int]:
    return [(37 * i * (seed + 1) + 11 * seed + i * i) % VOCABULARY for i in range(length)]


def a_conversation_agrees(folder: Path, bounds: tuple[int, ...]) -> None:
    """A prompt, the same again, another end of it, and the next turn after an answer."""
    stages = load(folder, *bounds)
    cold, warm = InProcess(stages), InProcess(stages, prefix_blocks=64)
    first = prompt(2 * BLOCK_TOKENS + 20)
    turns = [first, first, [*first[: BLOCK_TOKENS + 9], *prompt(30, 3)]]
    cached = [0, 2 * BLOCK_TOKENS, BLOCK_TOKENS]
    for number, turn in enumerate(turns):
        assert warm.answer(str(number), turn, ANSWER) == cold.answer(str(number), turn, ANSWER), number
        assert warm.cached(str(number)) == cached[number]
    long = warm.answer("long", first, 2 * BLOCK_TOKENS)
    assert long == cold.answer("long", first, 2 * BLOCK_TOKENS)
    following = [*first, *long, *prompt(10, 5)]
    assert warm.answer("next", following, ANSWER) == cold.answer("next", following, ANSWER)
    held = (len(first) + len(long) - 1) // BLOCK_TOKENS * BLOCK_TOKENS
    assert warm.cached("next") == held
    card = read_card(folder, "float32")
    for stage, executor in zip(stages, warm.executors, strict=True):
        counted = len(executor.blocks) * block_bytes(card, stage.shard.start, stage.shard.end, BLOCK_TOKENS)
        assert 0 < executor.blocks.nbytes <= counted
        # Of chunks as many tokens are counted as their buffers have room for.
        assert executor.blocks.nbytes == counted or any("Chunked" in name for name in classes(stage))


def classes(stage: ModelStage) -> set[str]:
    return {type(leaf).__name__ for leaf in kinds.leaves(stage.make_cache())}


@pytest.mark.parametrize("name", SOME)
def test_a_hit_answers_as_without_it(name: str, tmp_path: Path) -> None:
    a_conversation_agrees(build(name, tmp_path / "model"), (0, 2, LAYERS))


@pytest.mark.slow
@pytest.mark.parametrize("name", architectures.VERIFIED)
def test_a_hit_answers_as_without_it_in_every_architecture(name: str, tmp_path: Path) -> None:
    folder = build(name, tmp_path / "model")
    a_conversation_agrees(folder, (0, LAYERS))
    a_conversation_agrees(folder, (0, 1, 3, LAYERS))


def test_a_prompt_of_600_tokens_begins_with_the_states_behind_512_of_it(tmp_path: Path) -> None:
    folder = build("qwen3_next", tmp_path / "model")
    stages, tokens = load(folder, 0, 2, LAYERS), prompt(600)
    of_block = block_tokens(read_card(folder, "float32"), 0)
    cold = InProcess(stages, chunk=100)
    warm = InProcess(stages, chunk=100, prefix_blocks=8, block_tokens=of_block)
    assert warm.answer("a", tokens, 8) == warm.answer("b", tokens, 8) == cold.answer("a", tokens, 8)
    assert (warm.cached("a"), warm.cached("b")) == (0, 512)
    chunks = [step.token_count for step in warm.steps if step.operation is Operation.RUN and not step.single]
    assert chunks == [86, 85, 85, 86, 85, 85, 88, 88]


@pytest.mark.parametrize("window", [65, pytest.param(150, marks=pytest.mark.slow)])
def test_windows_that_are_longer_than_a_block_come_from_several(window: int, tmp_path: Path) -> None:
    a_conversation_agrees(build("gpt_oss", tmp_path / "model", sliding_window=window), (0, 2, LAYERS))


@pytest.mark.parametrize(
    "name",
    [
        "llama",
        "gemma3_text",
        "qwen3_next",
        *(pytest.param(name, marks=pytest.mark.slow) for name in WITHOUT_EVERY_TOKEN),
    ],
)
def test_sequences_that_decode_together_are_kept_and_begin_with_blocks_as_alone(
    name: str, tmp_path: Path
) -> None:
    stages = load(build(name, tmp_path / "model"), 0, 2, LAYERS)
    cold, warm = InProcess(stages), InProcess(stages, prefix_blocks=64)
    shared = prompt(BLOCK_TOKENS + 30)
    for time in ("first", "again"):
        for number in range(4):
            warm.submit(f"{time}{number}", [*shared, *prompt(10 * number, number)], BLOCK_TOKENS + number)
        warm.run()
    for number in range(4):
        tokens = [*shared, *prompt(10 * number, number)]
        expected = cold.answer(str(number), tokens, BLOCK_TOKENS + number)
        assert warm.tokens(f"first{number}") == warm.tokens(f"again{number}") == expected
        following = [*tokens, *expected, 7]
        assert warm.answer(f"then{number}", following, 8) == cold.answer(f"then{number}", following, 8)
        assert warm.cached(f"then{number}") == 2 * BLOCK_TOKENS
    together = [step for step in warm.steps if step.operation is Operation.RUN and len(step.rows) > 1]
    assert together


def test_a_full_cache_makes_room_and_still_answers_right(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, 2, LAYERS)
    cold, warm = InProcess(stages), InProcess(stages, prefix_blocks=3)
    for number in range(9):
        tokens = prompt(2 * BLOCK_TOKENS + 5, number % 3)
        assert warm.answer(str(number), tokens, 8) == cold.answer(str(number), tokens, 8)
        assert [len(executor.blocks) for executor in warm.executors] == [min(3, 2 * number + 2)] * 2
    assert warm.executors[0].blocks.evicted > 0


def test_a_cancelled_sequence_leaves_what_it_computed(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, 2, LAYERS)
    warm, cold = InProcess(stages, prefix_blocks=8), InProcess(stages)
    tokens = prompt(4 * BLOCK_TOKENS)
    warm.submit("a", tokens, 50)
    while warm.computed() < 3 * BLOCK_TOKENS:
        warm.turn()
    warm.engine.cancel("a")
    warm.run()
    assert warm.answer("b", tokens, 8) == cold.answer("b", tokens, 8)
    assert 2 * BLOCK_TOKENS <= warm.cached("b") < 4 * BLOCK_TOKENS


def test_what_memory_asks_for_goes_on_every_rank_but_not_what_runs(tmp_path: Path) -> None:
    stages = load(build("llama", tmp_path / "model"), 0, 2, LAYERS)
    warm, cold = InProcess(stages, prefix_blocks=16), InProcess(stages)
    tokens = [prompt(2 * BLOCK_TOKENS + 5, seed) for seed in range(2)]
    for number in range(2):
        warm.answer(f"a{number}", tokens[number], 4)
    warm.submit("runs", [*tokens[0], 3], 40)
    for _ in range(6):
        warm.turn()
    assert warm.engine.forget(100) == 2
    warm.run()
    assert [len(executor.blocks) for executor in warm.executors] == [2, 2]
    assert warm.tokens("runs") == cold.answer("runs", [*tokens[0], 3], 40)
    assert warm.engine.forget(100) == 2
    warm.run()
    assert [executor.blocks.nbytes for executor in warm.executors] == [0, 0]
    assert warm.answer("b", tokens[0], 4) == cold.answer("b", tokens[0], 4)
    assert warm.cached("b") == 0
