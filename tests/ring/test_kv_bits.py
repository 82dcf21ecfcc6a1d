"""A real ring whose caches have few bits answers as mlx-lm does with such caches, and holds less."""

from itertools import islice
from pathlib import Path

import mlx.core as mx
import pytest
from mlx_lm.utils import load_model
from msgspec import structs
from tokenizers import Tokenizer

from ringcore.planning.kept import CACHE_STEP
from ringcore.planning.prefix import BLOCK_TOKENS
from ringcore.spec.engine import Cancel, Started
from tests.models.kv_bits import build_wide, firm_answer
from tests.models.small import VOCABULARY
from tests.ring.harness import REAL, Ring
from tests.ring.test_greedy import measured

ANSWER = 16
CHUNK = 16
NUMBERS = 2 * 2 * 32  # of a token in a layer: keys and values of two heads


TEXTS = ("1, 2, 3, 4, 5, 6, 7,", "a b c d e f g h i j k", "The capital of France is")
SAID = 10  # tokens of an answer to them


def firm(folder: Path, bits: int, length: int) -> tuple[list[int], list[int]]:
    """A prompt, and the answer that mlx-lm has no doubt of."""
    model, _ = load_model(folder)
    for seed in range(200):
        prompt = [(37 * i * (seed + 1) + 11 * seed + i * i) % VOCABULARY for i in range(length)]
        answer = firm_answer(model, bits, prompt, ANSWER)
        if answer and len(set(answer)) > ANSWER // 2:
            return prompt, answer
    raise AssertionError("each answer hangs on a rounding")


@pytest.mark.parametrize(
    ("counts", "order", "bits"),
    [
        ([3, 2], "reverse", 8),
        pytest.param([1, 3, 1], "forward", 8, marks=pytest.mark.slow),
        ([1, 2, 2], "forward", 4),
        pytest.param([2, 3], "reverse", 4, marks=pytest.mark.slow),
    ],
)
def test_a_ring_with_caches_in_few_bits_answers_as_mlx_lm_with_them(
    counts: list[int], order: str, bits: int, tmp_path: Path
) -> None:
    model = build_wide("qwen3", tmp_path)
    asked = [firm(model, bits, length) for length in (85, 7)]
    plan = structs.replace(measured(counts, order, model, prefill_chunk=CHUNK, prefix_blocks=8), kv_bits=bits)
    with Ring(plan, module=REAL, model=model) as ring:
        for number, (prompt, _) in enumerate(asked):
            ring.submit(str(number), prompt, ANSWER)
        for number, (prompt, expected) in enumerate(asked):
            assert ring.finished(str(number), 120).reason == "length"
            assert ring.tokens(str(number)) == expected, prompt
        prompt, expected = asked[0]
        assert ring.answer("again", prompt, ANSWER) == expected
        assert ring.messages(Started, "again")[0].cached_tokens == BLOCK_TOKENS
        # Groups of 32 numbers: a scale and a bias of 4 bytes each. In float32 a number takes 4 bytes.
        sizes = [count * (NUMBERS * bits // 8 + NUMBERS // 32 * 8) for count in counts]
        assert [4 * NUMBERS * count / size for count, size in zip(counts, sizes, strict=True)] == [
            pytest.approx(4 / (bits / 8 + 1 / 4))
        ] * len(counts)
        ring.submit("long", prompt, 3000)
        ring.wait(lambda: all(rank.memory and rank.memory[-1].kv_bytes for rank in ring.ranks), "caches")
        for rank, size in zip(ring.ranks, sizes, strict=True):
            used = rank.memory[-1]
            assert used.kv_bytes % (CACHE_STEP * size) == 0 and used.kv_bytes < 3000 * size
            assert used.prefix is not None and used.prefix.bytes == used.prefix.blocks * BLOCK_TOKENS * size
        ring.send(Cancel(id="long"))
        ring.finished("long")
        assert ring.quit() == [0] * len(plan.stages)


@pytest.mark.slow
@pytest.mark.parametrize(("counts", "order", "bits"), [([14, 16], "reverse", 8), ([10, 11, 9], "forward", 4)])
def test_the_real_model_answers_as_mlx_lm_with_such_caches(
    counts: list[int], order: str, bits: int, demo_model_path: Path
) -> None:
    model, _ = load_model(demo_model_path)
    model.set_dtype(mx.float32)
    tokenizer = Tokenizer.from_file(str(demo_model_path / "tokenizer.json"))
    prompts = [list(tokenizer.encode(text).ids) for text in TEXTS]
    firm = (
        (prompt, answer)
        for prompt in prompts
        if (answer := firm_answer(model, bits, prompt, SAID)) is not None
    )
    asked = list(islice(firm, 2))
    assert asked, "each answer hangs on a rounding"
    plan = measured(counts, order, demo_model_path, prefill_chunk=CHUNK)
    with Ring(structs.replace(plan, kv_bits=bits), module=REAL, model=demo_model_path) as ring:
        for number, (prompt, answer) in enumerate(asked):
            assert ring.answer(str(number), prompt, SAID) == answer
        assert ring.quit() == [0] * len(counts)
