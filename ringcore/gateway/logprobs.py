"""Log-probabilities in OpenAI's two shapes, and which tokens belong to which piece of the text.

They are those of the model's own distribution: before penalties, bias, temperature and filters. A token
that is no whole character reads as its bytes, ``\\xf0\\x9f``. Knows nothing of requests.
(https://platform.openai.com/docs/api-reference/chat/object, .../completions/object)
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from ringcore.spec.engine import Logprobs, Token

TokenBytes = Callable[[int], bytes]


class Scored(Struct, frozen=True):
    """A token of an answer. ``offset``: characters of the answer before it."""

    token: int
    offset: int
    logprobs: Logprobs


class Held:
    """Tokens that have come, until the text they begin in goes out. A stop string, or half a character, holds
    both back."""

    def __init__(self) -> None:
        self._scored: list[Scored] = []
        self._made = 0  # characters that the tokens so far became
        self._shown = 0

    def push(self, token: Token, text: str) -> None:
        """``text`` is what the answer grew by with this token."""
        if token.logprobs is not None:
            self._scored.append(Scored(token.token, self._made, token.logprobs))
        self._made += len(text)

    def shown(self, text: str) -> tuple[Scored, ...]:
        """The tokens that begin in ``text``, which goes out now."""
        self._shown += len(text)
        found = tuple(scored for scored in self._scored if scored.offset < self._shown)
        self._scored = self._scored[len(found) :]
        return found

    def rest(self) -> tuple[Scored, ...]:
        """Those that are left, at the end."""
        found, self._scored = tuple(self._scored), []
        return found


def chat_logprobs(scored: Sequence[Scored], token_bytes: TokenBytes) -> dict[str, Any]:
    """The ``logprobs`` of a choice of /v1/chat/completions."""

    def one(token: int, logprob: float) -> dict[str, Any]:
        data = token_bytes(token)
        return {"token": _read(data), "logprob": logprob, "bytes": list(data)}

    content = [
        {
            **one(item.token, item.logprobs.drawn),
            "top_logprobs": [one(token, logprob) for token, logprob in item.logprobs.top],
        }
        for item in scored
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(scored: Sequence[Scored], token_bytes: TokenBytes) -> dict[str, Any]:
    """The ``logprobs`` of a choice of /v1/completions. The token itself is always among the top ones, so
    there may be one more than was asked for; offsets count characters of the answer."""
    return {
        "tokens": [_read(token_bytes(item.token)) for item in scored],
        "token_logprobs": [item.logprobs.drawn for item in scored],
        "top_logprobs": [
            {
                _read(token_bytes(token)): logprob
                for token, logprob in ((item.token, item.logprobs.drawn), *item.logprobs.top)
            }
            for item in scored
        ],
        "text_offset": [item.offset for item in scored],
    }


def _read(data: bytes) -> str:
    return data.decode("utf-8", "backslashreplace")
