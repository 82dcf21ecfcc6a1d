"""How a model marks its thinking and its calls of tools, and how to read a call: as mlx-lm knows it.

The modules of mlx-lm that know this import no mlx; its package does, so they are loaded beside it. Knows
nothing of requests or streams.
"""

import importlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from msgspec import Struct

# What marks are made of. A model with none of these has none, and needs no table of all models to say so.
_HINTS = ("think", "channel", "<|open|>", "tool", "TOOL", "function", "call", "arg_key")
_PACKAGE = "ringcore_mlx_lm"


class Call(Struct, frozen=True):
    """A call of a tool. ``arguments`` is a JSON object as text."""

    name: str
    arguments: str
    id: str = ""


class Dialect(Struct, frozen=True, kw_only=True):
    """``thinking`` and ``calls`` are the marks (start, end); the end of calls may be "", the answer's own.
    ``noise``: other marks that are no text. ``kept``: special tokens that `Text.decode` would drop and that
    make up marks. ``json_calls``: a call is one JSON object with name and arguments."""

    thinking: tuple[str, str] | None = None
    calls: tuple[str, str] | None = None
    noise: tuple[str, ...] = ()
    json_calls: bool = False
    parser: Callable[[str, Any], Any] | None = None

    def read(self, text: str, tools: Sequence[Any]) -> tuple[Call, ...]:
        """The calls in ``text``, what stood between the marks; none when it is no call."""
        assert self.parser is not None
        try:
            parsed: Any = self.parser(text, list(tools))
            found = parsed if isinstance(parsed, list) else [parsed]
            return tuple(_call(one) for one in found)
        except Exception:  # noqa: BLE001 - parsers of text that a model made up: IndexError, KeyError, SyntaxError
            return ()


def _call(parsed: Any) -> Call:
    arguments: Any = parsed.get("arguments", {})
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    if not isinstance(json.loads(arguments), dict):
        raise ValueError("the arguments of a call are no object")
    name, id = parsed["name"], parsed.get("id")
    if not isinstance(name, str) or not name:
        raise ValueError("a call has no name")
    return Call(name, arguments, id if isinstance(id, str) else "")


def dialect_of(tokenizer: Any) -> Dialect:
    """``tokenizer`` is one of transformers'."""
    template: Any = tokenizer.chat_template
    words = template if isinstance(template, str) else json.dumps(template)
    words += "".join(str(added.content) for added in tokenizer.added_tokens_decoder.values())
    if not any(hint in words for hint in _HINTS) and "tool_parser_type" not in tokenizer.init_kwargs:
        return Dialect()
    known: Any = _module("tokenizer_utils")
    start, end, *_ = known._infer_thinking(tokenizer)
    noise = tuple(known._infer_structural_markers(tokenizer))
    name: str | None = tokenizer.init_kwargs.get("tool_parser_type") or known._infer_tool_parser(tokenizer)
    thinking = (start, end) if start and end else None
    try:
        parser: Any = _module(f"tool_parsers.{name}") if name and name.isidentifier() else None
    except ImportError:
        parser = None
    if parser is None:
        return Dialect(thinking=thinking, noise=noise)
    return Dialect(
        thinking=thinking,
        calls=(parser.tool_call_start, parser.tool_call_end or ""),
        noise=noise,
        json_calls=name == "json_tools",
        parser=parser.parse_tool_call,
    )


def _module(name: str) -> ModuleType:
    if _PACKAGE not in sys.modules:
        found = importlib.util.find_spec("mlx_lm")  # looks for it, runs nothing of it
        package = ModuleType(_PACKAGE)
        package.__path__ = list(found.submodule_search_locations or ()) if found else []
        sys.modules[_PACKAGE] = package
    return importlib.import_module(f"{_PACKAGE}.{name}")
