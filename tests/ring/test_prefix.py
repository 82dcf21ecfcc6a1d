"""A real ring that begins with what it kept says what it says when it computes everything."""

from pathlib import Path

import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model
from tokenizers import Tokenizer

from ringcore.planning.prefix import BLOCK_TOKENS
from ringcore.spec.control import ForgetPrefixes
from ringcore.spec.engine import Started
from tests.models.running import greedy_by_mlx_lm
from tests.models.small import VOCABULARY, build
from tests.ring.harness import REAL, Ring
from tests.ring.test_greedy import measured

ANSWER = 16
LETTER = "Dear operator, three machines hold this model together, and each keeps the keys of its own layers. "


def cached(ring: Ring, name: str) -> int:
    (started,) = ring.messages(Started, name)
    return started.cached_tokens


@pytest.mark.parametrize(
    ("name", "counts", "order"),
    [
        ("qwen3", [3, 2], "reverse"),
        ("qwen3", [1, 2, 2], "forward"),
        ("gemma3_text", [3, 2], "reverse"),
        ("qwen3_next", [2, 1, 2], "reverse"),
        pytest.param("qwen3_next", [5], "reverse", marks=pytest.mark.slow),
        pytest.param("gpt_oss", [1, 2, 2], "forward", marks=pytest.mark.slow),
        pytest.param("mamba2", [3, 2], "forward", marks=pytest.mark.slow),
    ],
)
def test_a_small_ring_answers_from_blocks_as_mlx_lm_does(
    name: str, counts: list[int], order: str, tmp_path: Path
) -> None:
    """Windows, states and both included: a block is stored while the caches are where it ends."""
    model = build(name, tmp_path, layers=5)
    prompt = [(37 * i + 11 + i * i) % VOCABULARY for i in range(2 * BLOCK_TOKENS + 9)]
    expected = greedy_by_mlx_lm(model, prompt, 2 * BLOCK_TOKENS)
    following = [*prompt, *expected, 5, 6]
    then = greedy_by_mlx_lm(model, following, ANSWER)
    with Ring(
        measured(counts, order, model, prefix_blocks=16, prefill_chunk=32), module=REAL, model=model
    ) as ring:
        assert ring.answer("cold", prompt, len(expected)) == expected
        assert ring.answer("warm", prompt, len(expected)) == expected
        assert ring.answer("then", following, ANSWER) == then
        assert [cached(ring, name) for name in ("cold", "warm", "then")] == [
            0,
            2 * BLOCK_TOKENS,
            4 * BLOCK_TOKENS,
        ]
        assert ring.quit() == [0] * len(counts)


@pytest.mark.parametrize(
    "name", ["llama", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gemma3_text", "qwen3_next"))]
)
def test_a_ring_that_was_killed_begins_from_its_files(name: str, tmp_path: Path) -> None:
    model = build(name, tmp_path / "model", layers=5)
    prompt = [(37 * i + 11 + i * i) % VOCABULARY for i in range(2 * BLOCK_TOKENS + 9)]
    expected = greedy_by_mlx_lm(model, prompt, ANSWER)
    plan = measured([3, 2], "reverse", model, prefix_blocks=16, prefill_chunk=32, prefix_disk_blocks=16)
    for held in (0, 2 * BLOCK_TOKENS):
        with Ring(plan, module=REAL, model=model, prefix=tmp_path / "prefix") as ring:
            assert ring.answer("a", prompt, ANSWER) == expected
            assert cached(ring, "a") == held
            ring.wait(lambda: len(list(tmp_path.glob("prefix/*/*/*.safetensors"))) == 4, "two blocks a rank")
            if held:
                ring.ranks[0].tell(ForgetPrefixes())
                ring.wait(lambda: not list(tmp_path.glob("prefix/*/*/*")), "all files to go")
                assert ring.answer("b", prompt, ANSWER) == expected
                assert cached(ring, "b") == 0


@pytest.fixture(scope="module")
def prompts(demo_model_path: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(demo_model_path / "tokenizer.json"))
    questions = ("What does each machine keep?", "Say it in one word:")
    return [list(tokenizer.encode(LETTER * 6 + question).ids) for question in questions]


@pytest.fixture(scope="module")
def expected(demo_model_path: Path, prompts: list[list[int]]) -> list[list[int]]:
    model, _ = load_model(demo_model_path)
    model.set_dtype(mx.float32)
    return [
        [int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=ANSWER)]
        for prompt in prompts
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("counts", "order"), [([30], "reverse"), ([14, 16], "reverse"), ([10, 11, 9], "forward")]
)
def test_the_real_model_answers_from_blocks_as_mlx_lm_does(
    counts: list[int], order: str, demo_model_path: Path, prompts: list[list[int]], expected: list[list[int]]
) -> None:
    plan = measured(counts, order, demo_model_path, prefix_blocks=32, prefill_chunk=64)
    with Ring(plan, module=REAL, model=demo_model_path) as ring:
        for name in ("a", "b"):  # computed, then from blocks
            for number, prompt in enumerate(prompts):
                ring.submit(f"{name}{number}", prompt, ANSWER)
            for number in range(len(prompts)):
                ring.finished(f"{name}{number}", 120)
                assert ring.tokens(f"{name}{number}") == expected[number]
        for number, prompt in enumerate(prompts):
            assert cached(ring, f"b{number}") == (len(prompt) - 1) // BLOCK_TOKENS * BLOCK_TOKENS > 0
        assert ring.quit() == [0] * len(counts)
