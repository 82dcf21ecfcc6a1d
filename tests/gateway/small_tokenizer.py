"""A small real tokenizer, as a model's folder has it: byte-level BPE, so that most characters beyond ASCII
are several tokens, with a chat template."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

SPECIAL = ("<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_WORDS = "the quick brown fox jumps over the lazy dog while the ring is serving and nothing is missing " * 4


def write_tokenizer(
    folder: Path, *, marks: Sequence[str] = (), special_marks: bool = False, **config: object
) -> Path:
    """``folder`` with tokenizer.json, tokenizer_config.json (``config`` on top) and config.json. ``marks``
    are tokens of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    tokenizer.train_from_iterator(
        [_WORDS],
        BpeTrainer(
            vocab_size=320,
            initial_alphabet=ByteLevel.alphabet(),
            special_tokens=[AddedToken(text, special=True, normalized=False) for text in SPECIAL],
            show_progress=False,
        ),
    )
    tokenizer.add_tokens([AddedToken(mark, special=special_marks, normalized=False) for mark in marks])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "chat_template": TEMPLATE,
        **config,
    }
    settings = {key: value for key, value in settings.items() if value is not None}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "eos_token_id": 1}))
    return folder
