"""A question that the demo model answers in JSON, and what makes the answer a document of its schema."""

import json
from collections.abc import Sequence

from tokenizers import Tokenizer

END = 2  # the demo model's token that ends an answer
QUESTION = "<|im_start|>user\nWhich colour has the sky? Answer in JSON.<|im_end|>\n<|im_start|>assistant\n"
SCHEMA = {
    "type": "object",
    "properties": {
        "colour": {"enum": ["red", "green", "blue"]},
        "why": {"type": "string", "maxLength": 40},
        "sure": {"type": "boolean"},
    },
    "required": ["colour", "why", "sure"],
    "additionalProperties": False,
}


def check(tokenizer: Tokenizer, tokens: Sequence[int]) -> None:
    """Fails unless ``tokens`` are a document of `SCHEMA`."""
    found = json.loads(tokenizer.decode(list(tokens)))
    assert set(found) == set(SCHEMA["required"])
    assert found["colour"] in ("red", "green", "blue")
    assert len(found["why"]) <= 40 and isinstance(found["sure"], bool)
