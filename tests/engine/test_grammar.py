"""Answers that follow a grammar: whatever the logits want, what is drawn is a document, and it ends."""

import json
from pathlib import Path

import mlx.core as mx
import pytest

from ringcore.engine.grammar import CANNOT_FOLLOW, Grammars
from ringcore.engine.opening import Opening
from ringcore.engine.sampler import Sampler
from ringcore.gateway.grammar import grammar_of
from tests.gateway.small_tokenizer import write_tokenizer

END = 1
PADDED = 352  # heads often have more rows than the vocabulary has tokens
SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "ages": {"type": "array", "items": {"type": "integer", "minimum": 0, "maximum": 99}, "maxItems": 3},
        "kind": {"enum": ["a", "b", None]},
    },
    "required": ["name", "ages", "kind"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("grammar"))


def draw_all(sampler: Sampler, seed: int, most: int = 200) -> list[int]:
    """From random logits, which would write noise."""
    tokens: list[int] = []
    for position in range(most):
        key = mx.random.key(seed * 1000 + position)
        token = int(sampler.draw(mx.random.normal((1, PADDED), key=key) * 5, position).token.item())
        tokens.append(token)
        if token in (END, CANNOT_FOLLOW):
            return tokens
    raise AssertionError(f"no end after {most} tokens")


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_random_logits_write_documents_of_the_schema(folder: Path, temperature: float) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    grammars = Grammars(folder, PADDED)
    for seed in range(8):
        opening = Opening(temperature=temperature, seed=seed, grammar=grammar_of(SCHEMA, "x"), stops=(END,))
        sampler = Sampler(opening, grammars.constraint(opening.grammar, opening.stops))
        *tokens, end = draw_all(sampler, seed)
        found = json.loads(tokenizer.decode(tokens))
        assert end == END
        assert set(found) == {"name", "ages", "kind"}
        assert len(found["name"]) <= 6 and found["kind"] in ("a", "b", None)
        assert len(found["ages"]) <= 3 and all(0 <= age <= 99 for age in found["ages"])


def test_a_step_that_was_on_its_way_when_the_answer_ended_does_no_harm(folder: Path) -> None:
    opening = Opening(grammar=grammar_of({"const": 1}, "x"), stops=(END,))
    sampler = Sampler(opening, Grammars(folder, PADDED).constraint(opening.grammar, opening.stops))
    tokens = draw_all(sampler, 3)
    after = sampler.draw(mx.zeros((1, PADDED)), len(tokens))
    assert after.token.item() in (END, CANNOT_FOLLOW)


@pytest.mark.parametrize("trouble", ["no tokenizer", "broken tokenizer", "no grammar"])
def test_where_it_cannot_be_followed_that_is_said_and_no_free_text_is_drawn(
    tmp_path: Path, trouble: str
) -> None:
    folder = write_tokenizer(tmp_path / "m")
    if trouble == "no tokenizer":
        (folder / "tokenizer.json").unlink()
    if trouble == "broken tokenizer":
        (folder / "tokenizer.json").write_text("{}")
    grammar = "nonsense" if trouble == "no grammar" else grammar_of({}, "x")
    opening = Opening(grammar=grammar, stops=(END,))
    sampler = Sampler(opening, Grammars(folder, PADDED).constraint(grammar, opening.stops))
    assert draw_all(sampler, 1) == [CANNOT_FOLLOW]
