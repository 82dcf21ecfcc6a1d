"""Answers that follow a grammar: whatever the logits want, what is drawn is a document, and it ends."""

import json
from pathlib import Path
from typing import Any

import mlx.core as mx
import pytest

from ringcore.engine.grammar import CANNOT_FOLLOW, Grammars
from ringcore.engine.opening import Opening
from ringcore.engine.sampler import Sampler
from ringcore.gateway.errors import ApiFault
from ringcore.gateway.grammar import grammar_of
from ringcore.spec.engine import MAX_GRAMMAR_BYTES
from ringcore.spec.packed import pack, unpack
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


NODE = {
    "type": "object",
    "properties": {"tag": {"type": "string", "pattern": "^[a-c]{2}$"},
                   "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["tag", "next"], "additionalProperties": False,
}  # fmt: skip
SCHEMAS: dict[str, dict[str, Any]] = {
    "recursive": {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
    "enum of every kind": {"enum": ["a", 1, None, True, {"b": [1.5]}, "ä\"\n"]},
    "const": {"const": {"title": "x"}},
    "pattern": {"type": "string", "pattern": "^(yes|no)-[0-9]{3}$"},
    "pattern without anchors": {"type": "string", "pattern": "[xyz]{3}", "maxLength": 5},
    "numbers": {"type": "array", "items": {"type": "number", "minimum": -1, "exclusiveMaximum": 2},
                "minItems": 1, "maxItems": 2},
    "several types": {"type": ["boolean", "null"]},
    "remarks and names that read like them": {
        "title": "T", "description": "D", "type": "object", "required": ["title", "default"],
        "properties": {"title": {"type": "boolean", "title": "x"}, "default": {"enum": [1], "default": 1}},
        "additionalProperties": False,
    },
    "all of": {"allOf": [{"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]},
                         {"type": "object", "properties": {"b": {"type": "null"}}, "required": ["b"]}],
               "additionalProperties": True},
    "a date": {"type": "string", "format": "date"},
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas_of_every_make_are_followed(folder: Path, name: str) -> None:
    import jsonschema_rs  # comes with schemathesis
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for seed in range(3):
        opening = Opening(temperature=1.0, seed=seed, grammar=grammar_of(SCHEMAS[name], "x"), stops=(END,))
        sampler = Sampler(opening, Grammars(folder, PADDED).constraint(opening.grammar, opening.stops))
        *tokens, end = draw_all(sampler, seed, most=600)
        assert end == END
        jsonschema_rs.validate(SCHEMAS[name], json.loads(tokenizer.decode(tokens)))


def test_an_empty_schema_is_any_document(folder: Path) -> None:
    matcher = Grammars(folder, PADDED).constraint(grammar_of({}, "x"), (END,))._matcher
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in ("null", '"x"', "[1, {}]", '{"a": [true]}'):
        tokens = tokenizer.encode(text).ids
        assert matcher.try_consume_tokens(tokens) == len(tokens) and matcher.is_accepting(), text
        matcher.reset()


IMPOSSIBLE: dict[str, dict[str, Any]] = {
    "elsewhere": {"$ref": "https://example.org/x.json"},
    "nowhere": {"$ref": "#/$defs/none"},
    "look ahead": {"type": "string", "pattern": "(?=a)b"},
    "format": {"type": "string", "format": "no such format"},
    "not": {"not": {"type": "string"}},
    "type": {"type": "sting"},
}


@pytest.mark.parametrize("schema", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_followed_is_refused_with_the_reason(schema: dict[str, Any]) -> None:
    with pytest.raises(ApiFault) as caught:
        grammar_of(schema, "response_format")
    error = caught.value.body["error"]
    assert (caught.value.status, error["param"]) == (400, "response_format")
    assert len(error["message"]) > len("response_format: the schema cannot be followed: ")


def test_a_step_that_was_on_its_way_when_the_answer_ended_does_no_harm(folder: Path) -> None:
    opening = Opening(grammar=grammar_of({"const": 1}, "x"), stops=(END,))
    sampler = Sampler(opening, Grammars(folder, PADDED).constraint(opening.grammar, opening.stops))
    tokens = draw_all(sampler, 3)
    after = sampler.draw(mx.zeros((1, PADDED)), len(tokens))
    assert after.token.item() in (END, CANNOT_FOLLOW)


def test_a_long_grammar_travels_packed_and_is_followed(folder: Path) -> None:
    names = [f"a_property_with_a_long_name_{number}" for number in range(150)]
    schema = {"type": "object", "properties": {name: {"type": "string", "maxLength": 2} for name in names},
              "required": names[:2], "additionalProperties": False}  # fmt: skip
    grammar = grammar_of(schema, "x")
    assert len(grammar) <= MAX_GRAMMAR_BYTES < len(unpack(grammar)) and pack(unpack(grammar)) == grammar
    opening = Opening(temperature=1.0, seed=1, grammar=grammar, stops=(END,))
    sampler = Sampler(opening, Grammars(folder, PADDED).constraint(opening.grammar, opening.stops))
    assert CANNOT_FOLLOW not in [int(sampler.draw(mx.zeros((1, PADDED)), n).token.item()) for n in range(20)]


@pytest.mark.parametrize(
    "text", ["zlib:", "zlib:?", "zlib:0000", pack("x" * 200_000), pack("xy" * 5000)[:-4]]
)
def test_what_cannot_be_unpacked_is_no_grammar(folder: Path, text: str) -> None:
    with pytest.raises(ValueError):
        unpack(text)
    opening = Opening(grammar=text, stops=(END,))
    sampler = Sampler(opening, Grammars(folder, PADDED).constraint(opening.grammar, opening.stops))
    assert draw_all(sampler, 1) == [CANNOT_FOLLOW]


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
