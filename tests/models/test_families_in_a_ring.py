"""One architecture of each family through a real ring of processes: several sequences, prompts in chunks."""

from pathlib import Path

import pytest

from tests.models.configs.common import VOCABULARY
from tests.models.running import greedy_by_mlx_lm, load
from tests.models.small import build
from tests.ring.harness import REAL, Ring, make_plan

COUNTS = (2, 1, 2)
ANSWER = 24
PROMPTS = [[(37 * i + 11) % VOCABULARY for i in range(length)] for length in (41, 7, 19)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["bailing_moe_linear", "falcon_h1", "gemma3", "gpt_oss", "mamba", "nemotron_h", "rwkv7"]
)
def test_a_ring_answers_several_sequences_as_mlx_lm_each_alone(name: str, tmp_path: Path) -> None:
    model = build(name, tmp_path / "model")
    expected = [greedy_by_mlx_lm(model, prompt, ANSWER) for prompt in PROMPTS]
    # Rank 0 holds the last layers.
    sizes = [stage.weight_bytes for stage in reversed(load(model, 0, 2, 3, 5))]
    plan = make_plan(COUNTS, order="reverse", weight_bytes=sizes, prefill_chunk=16)
    with Ring(plan, module=REAL, model=model) as ring:
        for number, prompt in enumerate(PROMPTS):
            ring.submit(str(number), prompt, ANSWER)
        for number in range(len(PROMPTS)):
            assert ring.finished(str(number), 120).reason == "length"
        assert [ring.tokens(str(number)) for number in range(len(PROMPTS))] == expected
        assert ring.quit() == [0, 0, 0]
