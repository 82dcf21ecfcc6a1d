"""The model's tokenizer: prompts and messages to tokens, tokens to text, which tokens end an answer.

Owns everything that is read from the tokenizer's files. Never asks the network and never runs code
that comes with a model.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

from ringcore.gateway.detokenize import Decode
from ringcore.gateway.dialect import dialect_of
from ringcore.gateway.errors import invalid
from ringcore.gateway.sections import Marks
from ringcore.gateway.token_bytes import TokenBytes
from ringcore.spec.errors import PlanError

# What a template written for other messages, tools or variables ends in.
_REFUSALS = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError, RecursionError)
_ASKED = {"documents"}  # of what transformers passes to a template, what a request may give
_AS_IT_STANDS = ("PreTrainedTokenizerFast", "TokenizersBackend")


class Text:
    """Encoding may run in a thread while decoding runs in another."""

    def __init__(self, tokenizer: Any, end_tokens: frozenset[int]) -> None:
        self.end_tokens = end_tokens
        self.dialect = dialect_of(tokenizer)
        self._tokenizer = tokenizer
        self._backend: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._backend is not None:
            # Some files ask for a cut at 512 tokens. transformers sets both at each call, which two
            # threads must not do; the backend itself is only read.
            self._backend.no_truncation()
            self._backend.no_padding()
        self.token_bytes = TokenBytes(tokenizer)
        self._added = {
            str(added.content): int(token) for token, added in tokenizer.added_tokens_decoder.items()
        }
        self._special = {
            int(token): str(added.content)
            for token, added in tokenizer.added_tokens_decoder.items()
            if added.special
        }

    @classmethod
    def load(cls, folder: Path) -> "Text":
        """Raises `PlanError` when the folder has no tokenizer that transformers understands."""
        try:
            tokenizer = _from_pretrained(folder)
        except Exception as error:  # a broken tokenizer.json ends in KeyError, TypeError, bare Exception
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise PlanError(
                f"the tokenizer in {folder} cannot be loaded: {reason}",
                "the model's folder on the leader needs tokenizer.json and tokenizer_config.json",
            ) from error
        return cls(tokenizer, _end_tokens(folder, tokenizer))

    def encode(self, text: str, *, special: bool) -> list[int]:
        """``special``: put the tokens round it that the tokenizer puts round a text (BOS)."""
        if self._backend is not None:
            return list(self._backend.encode(text, add_special_tokens=special).ids)
        return list(self._tokenizer.encode(text, add_special_tokens=special))

    def decode(self, tokens: Sequence[int]) -> str:
        """Text of an answer: special tokens leave no trace."""
        if self._backend is not None:
            return str(self._backend.decode(list(tokens), skip_special_tokens=True))
        return str(self._tokenizer.decode(list(tokens), skip_special_tokens=True))

    def decode_with_marks(self, marks: Marks) -> Decode:
        """`decode` for an answer whose marks must be seen, special tokens though they may be."""
        whole = "".join((*(marks.thinking or ()), *(marks.calls or ()), *marks.noise))
        # What stands in a call is for its parser, with every token of it.
        kept = {
            token: text
            for token, text in self._special.items()
            if token not in self.end_tokens and (marks.calls or text in whole)
        }
        if not kept:
            return self.decode

        def decode(tokens: Sequence[int]) -> str:
            if kept.keys().isdisjoint(tokens):
                return self.decode(tokens)
            parts: list[str] = []
            plain: list[int] = []
            for token in tokens:
                if token in kept:
                    parts += [self.decode(plain), kept[token]]
                    plain = []
                else:
                    plain.append(token)
            return "".join([*parts, self.decode(plain)])

        return decode

    def mark_token(self, mark: str) -> int | None:
        """The token that is this mark and nothing else; None where the mark is text like any other."""
        return self._added.get(mark)

    def looks_at(self, name: str) -> bool:
        """The model's template has a variable of that name."""
        template = self._tokenizer.chat_template
        text = template if isinstance(template, str) else json.dumps(template)
        return name.isidentifier() and re.search(rf"\b{name}\b", text) is not None

    def check_template(self, names: Collection[str]) -> None:
        """Raises `ApiFault` 400 for the first that the model's template does not look at, or that is set
        otherwise."""
        if not names:
            return
        ours = {"self", "messages", *signature(self._tokenizer.apply_chat_template).parameters} - _ASKED
        for name in names:
            if name in ours:
                raise invalid(f"chat_template_kwargs: {name} is not a request's to set", param=name)
            if not self.looks_at(name):
                raise invalid(
                    f"this model's chat template has no {name!r:.80}",
                    param=name,
                    code="unsupported_parameter",
                )

    def render_chat(
        self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = (), **variables: Any
    ) -> str:
        """Through the model's template, up to where the assistant speaks. Raises `ApiFault` when the model
        has no template, or the template refuses these messages."""
        from jinja2 import TemplateError

        if not self._tokenizer.chat_template:
            raise invalid("this model has no chat template; use /v1/completions", param="messages")
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    [dict(message) for message in messages],
                    tools=list(tools) or None,
                    tokenize=False,
                    **{"add_generation_prompt": True, **variables},
                )
            )
        except (TemplateError, *_REFUSALS) as error:
            raise invalid(f"the model's chat template refuses this: {error}", param="messages") from error


def _from_pretrained(folder: Path) -> Any:
    # transformers takes 0.5 s and 60 MB to import, its table of all models 0.2 s more. A folder that
    # names one of `_AS_IT_STANDS` does without the table: the tokenizer is the file.
    if (folder / "tokenizer.json").is_file() and _tokenizer_class(folder) in _AS_IT_STANDS:
        from transformers import PreTrainedTokenizerFast as Loader
    else:
        from transformers import AutoTokenizer as Loader
    return Loader.from_pretrained(  # pyright: ignore[reportUnknownMemberType]
        str(folder), local_files_only=True, trust_remote_code=False
    )


def _tokenizer_class(folder: Path) -> str:
    try:
        config: Any = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
        return str(config.get("tokenizer_class"))
    except (OSError, ValueError, AttributeError):
        return ""


def _end_tokens(folder: Path, tokenizer: Any) -> frozenset[int]:
    """Ids from generation_config.json, config.json and the tokenizer: one, a list, or none in each."""
    found: set[int] = set()
    for name in ("generation_config.json", "config.json"):
        try:
            value: Any = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
        except (OSError, ValueError):
            continue
        found.update([value] if isinstance(value, int) else value or [])
    if isinstance(tokenizer.eos_token_id, int):
        found.add(tokenizer.eos_token_id)
    return frozenset(found)
