"""Answers that follow a grammar on real rings of either order: masked where they are sampled."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer

from ringcore.gateway.grammar import grammar_of
from ringcore.spec.engine import Refused
from tests.models.colours import END, QUESTION, SCHEMA, check
from tests.ring.harness import REAL, Ring
from tests.ring.test_greedy import measured

pytestmark = pytest.mark.slow

LAYERS = 30  # of the demo model


@pytest.mark.parametrize(
    ("counts", "order"), [([30], "reverse"), ([15, 15], "reverse"), ([15, 15], "forward")],
    ids=["alone", "reverse", "forward"],
)  # fmt: skip
def test_what_a_ring_answers_is_a_document_of_the_schema_and_free_answers_beside_it_stay_as_they_are(
    demo_model_path: Path, counts: list[int], order: str
) -> None:
    tokenizer = Tokenizer.from_file(str(demo_model_path / "tokenizer.json"))
    prompt = tokenizer.encode(QUESTION).ids
    grammar = grammar_of(SCHEMA, "x")
    plan = measured(counts, order, demo_model_path, sequences=4, context=512)
    with Ring(plan, module=REAL, model=demo_model_path) as ring:
        free = ring.answer("free", prompt, 12, stop=[END])
        ring.submit("bound", prompt, 120, stop=[END], grammar=grammar)
        ring.submit("drawn", prompt, 120, stop=[END], grammar=grammar, temperature=1.0, seed=5)
        ring.submit("beside", prompt, 12, stop=[END])
        ring.submit("broken", prompt, 12, stop=[END], grammar="nonsense")
        for name in ("bound", "drawn"):
            assert ring.finished(name, 90).reason == "stop"
            check(tokenizer, ring.tokens(name))
        ring.finished("beside")
        assert ring.tokens("beside") == free
        ring.wait(lambda: ring.messages(Refused, "broken"), "the refusal")
        assert "grammar" in ring.messages(Refused, "broken")[0].cause
        assert ring.tokens("broken") == []
        assert ring.answer("after", prompt, 12, stop=[END]) == free
