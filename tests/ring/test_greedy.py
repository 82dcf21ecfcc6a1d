"""The proof: a ring of any size answers token for token as mlx-lm does in one process."""

from collections.abc import Sequence
from pathlib import Path

import mlx.core as mx
import pytest
from mlx_lm.generate import generate_step
from mlx_lm.utils import load_model
from tokenizers import Tokenizer

from ringcore.models.load import load_stage
from ringcore.spec.plan import Plan
from tests.models.running import greedy_by_mlx_lm
from tests.models.small import ARCHITECTURES, VOCABULARY, build
from tests.ring.harness import REAL, Ring, make_plan

ANSWER = 64
CHUNK = 16  # tokens of a prefill chunk: shorter than one prompt, longer than the other
TEXTS = (
    "The capital of France is",
    "def fibonacci(n: int) -> int:\n    # the n-th number, counted from 0\n    if n < 2:\n        return",
)
SMALL_LAYERS = 5
SMALL_PROMPTS = [
    [(37 * i + 11) % VOCABULARY for i in range(41)],
    [(53 * i + 5) % VOCABULARY for i in range(7)],
    [17],
]


def measured(plan_of: Sequence[int], order: str, model: Path, **options: int) -> Plan:
    """The plan, with the bytes that its stages really take: what a rank holds is checked against it."""
    plan = make_plan(plan_of, order=order, **options)
    stages = [
        load_stage(model, stage.shard, dtype=plan.dtype, on_progress=lambda _share, _text: None)
        for stage in plan.stages
    ]
    sizes = [stage.weight_bytes for stage in stages]
    return make_plan(plan_of, order=order, weight_bytes=sizes, **options)


def ring_answers(plan: Plan, model: Path, prompts: Sequence[list[int]]) -> list[list[int]]:
    """All prompts at once through a real ring."""
    with Ring(plan, module=REAL, model=model) as ring:
        for number, prompt in enumerate(prompts):
            ring.submit(str(number), prompt, ANSWER)
        for number in range(len(prompts)):
            assert ring.finished(str(number), 120).reason == "length"
        answers = [ring.tokens(str(number)) for number in range(len(prompts))]
        assert ring.quit() == [0] * len(plan.stages)
    return answers


@pytest.fixture(scope="module")
def prompts(demo_model_path: Path) -> list[list[int]]:
    tokenizer = Tokenizer.from_file(str(demo_model_path / "tokenizer.json"))
    found = [list(tokenizer.encode(text).ids) for text in TEXTS]
    assert len(found[0]) < CHUNK < len(found[1])
    return found


@pytest.fixture(scope="module")
def expected(demo_model_path: Path, prompts: list[list[int]]) -> list[list[int]]:
    model, _ = load_model(demo_model_path)
    model.set_dtype(mx.float32)
    return [
        [int(token) for token, _ in generate_step(mx.array(prompt), model, max_tokens=ANSWER)]
        for prompt in prompts
    ]


@pytest.mark.parametrize(
    ("counts", "order"),
    [
        ([30], "reverse"),
        ([15, 15], "reverse"),
        ([1, 20, 9], "forward"),
        *(
            pytest.param(counts, order, marks=pytest.mark.slow)
            for counts, order in [
                ([30], "forward"), ([11, 19], "forward"), ([29, 1], "reverse"), ([1, 29], "forward"),
                ([1, 20, 9], "reverse"), ([9, 20, 1], "forward"), ([10, 10, 10], "reverse"),
                ([8, 7, 7, 8], "forward"), ([1, 1, 27, 1], "reverse"), ([5, 12, 12, 1], "forward"),
            ]
        ),
    ],
)  # fmt: skip
def test_a_ring_says_what_mlx_lm_says_with_the_real_model(
    counts: list[int], order: str, demo_model_path: Path, prompts: list[list[int]], expected: list[list[int]]
) -> None:
    plan = measured(counts, order, demo_model_path, prefill_chunk=CHUNK)
    assert ring_answers(plan, demo_model_path, prompts) == expected


@pytest.mark.parametrize(
    ("counts", "order", "head_rows"),
    [
        ([15, 15], "reverse", 24_576),
        pytest.param([11, 19], "forward", 20_000, marks=pytest.mark.slow),
        pytest.param([15, 15], "forward", 49_088, marks=pytest.mark.slow),
        pytest.param([1, 29], "reverse", 64, marks=pytest.mark.slow),
    ],
)
def test_two_ranks_that_share_the_head_say_what_mlx_lm_says(
    counts: list[int],
    order: str,
    head_rows: int,
    demo_model_path: Path,
    prompts: list[list[int]],
    expected: list[list[int]],
) -> None:
    plan = measured(counts, order, demo_model_path, prefill_chunk=CHUNK, head_rows=head_rows)
    assert ring_answers(plan, demo_model_path, prompts) == expected


def test_four_ranks_say_what_mlx_lm_says_with_the_real_model(
    demo_model_path: Path, prompts: list[list[int]], expected: list[list[int]]
) -> None:
    plan = measured([8, 7, 7, 8], "reverse", demo_model_path, prefill_chunk=4)
    assert ring_answers(plan, demo_model_path, prompts[:1]) == expected[:1]


def small_ring_agrees(folder: Path, counts: Sequence[int], order: str) -> None:
    expected = [greedy_by_mlx_lm(folder, prompt, ANSWER) for prompt in SMALL_PROMPTS]
    assert len(set(expected[0])) > 20, "an answer of few different tokens compares nothing"
    plan = measured(counts, order, folder, prefill_chunk=CHUNK)
    assert ring_answers(plan, folder, SMALL_PROMPTS) == expected


@pytest.mark.parametrize(
    ("architecture", "counts", "order", "quantized"),
    [
        (name, *(([2, 3], "forward", True) if number % 2 else ([1, 3, 1], "reverse", False)))
        for number, name in enumerate(ARCHITECTURES)
    ],
)
def test_a_ring_says_what_mlx_lm_says_for_each_architecture(
    architecture: str, counts: list[int], order: str, quantized: bool, tmp_path: Path
) -> None:
    small_ring_agrees(build(architecture, tmp_path, quantized, SMALL_LAYERS), counts, order)


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[5], [4, 1], [1, 1, 3], [1, 2, 1, 1]], ids=str)
@pytest.mark.parametrize("quantized", [False, True], ids=["float32", "4bit"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_rings_of_one_to_four_say_what_mlx_lm_says_for_each_architecture(
    architecture: str, quantized: bool, counts: list[int], tmp_path: Path
) -> None:
    # Each size in one order with float32 weights and in the other with 4-bit ones.
    order = "forward" if (len(counts) % 2 == 0) != quantized else "reverse"
    small_ring_agrees(build(architecture, tmp_path, quantized, SMALL_LAYERS), counts, order)
