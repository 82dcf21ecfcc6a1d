"""One streamed completion of token ids, and when each piece of its answer came.

Owns the request and its times, on this machine's monotonic clock. Knows nothing of SSH, of the ring, or
of what is made of the times.
"""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from console.sse import LOGS, broke_off, events
from ringcore.spec.errors import ApiError

if TYPE_CHECKING:
    import httpx

CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 600.0  # a long prompt on a slow machine sends nothing for minutes
_NO_SUCH_ID = 2**31 - 1
_BOUND = re.compile(r"not in 0\.\.(\d+)")


class Answer(Struct, frozen=True, kw_only=True):
    """``arrivals``: when a piece with text came, in order. A token that leaves a character unfinished
    comes together with the one that ends it, so there may be fewer pieces than ``tokens``. ``cached_tokens``
    of the prompt were not computed."""

    began: float
    ended: float
    arrivals: tuple[float, ...]
    prompt_tokens: int
    tokens: int
    reason: str
    cached_tokens: int = 0

    @property
    def first(self) -> float:
        """When the answer began to come; its end when no piece of it had text."""
        return self.arrivals[0] if self.arrivals else self.ended

    def tokens_within(self, start: float, end: float) -> float:
        """Tokens that came after ``start`` and not after ``end``; pieces stand for tokens in equal parts."""
        inside = sum(start < arrival <= end for arrival in self.arrivals)
        return inside * self.tokens / len(self.arrivals) if self.arrivals else 0.0


class _Error(Struct, frozen=True):
    message: str = "no reason given"


class _Choice(Struct, frozen=True):
    text: str = ""
    finish_reason: str | None = None


class _Details(Struct, frozen=True):
    cached_tokens: int = 0


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details = _Details()


class _Chunk(Struct, frozen=True):
    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _Error | None = None


_chunk = msgspec.json.Decoder(_Chunk)


class Completions:
    """The API at ``base_url``, a port on this machine; ``key`` is sent where there is one. Use as
    ``async with``."""

    def __init__(self, base_url: str, *, key: str = "", silence_seconds: float = SILENCE_SECONDS) -> None:
        import httpx

        self._url = base_url
        self._client = httpx.AsyncClient(
            base_url=base_url,
            trust_env=False,  # a proxy cannot reach this machine's loopback
            verify=False,
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=httpx.Timeout(CONNECT_SECONDS, read=silence_seconds, pool=None),
            limits=httpx.Limits(max_connections=None),
        )

    async def __aenter__(self) -> "Completions":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def vocabulary(self) -> int:
        """How many token ids the model knows: the API names the last one when it refuses another.

        Raises `ApiError` when it does not.
        """
        body = {"prompt": [_NO_SUCH_ID], "max_tokens": 1}
        async with self._stream(body) as response:
            refusal = _chunk_of(await response.aread())
        said = refusal.error.message if refusal.error else f"status {response.status_code}"
        bound = _BOUND.search(said)
        if bound is None:
            raise ApiError(f"the API does not say how many token ids there are: {said}", LOGS)
        return int(bound[1]) + 1

    async def ask(
        self, prompt: Sequence[int], max_tokens: int, heard: Callable[[float], None] | None = None
    ) -> Answer:
        """The whole answer; ``heard`` gets each arrival when it happens. Cancelling this frees the request's
        place on the ring. Raises `ApiError`."""
        body = {
            "prompt": list(prompt),
            "max_tokens": max_tokens,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        arrivals: list[float] = []
        usage, reason = _Usage(), ""
        began = time.monotonic()
        async with self._stream(body) as response:
            if response.status_code != 200:
                error = _chunk_of(await response.aread()).error or _Error()
                raise ApiError(f"the API refused the request ({response.status_code}): {error.message}", LOGS)
            async with aclosing(events(response.aiter_bytes())) as found:
                async for data in found:
                    chunk = _chunk_of(data)
                    if chunk.error is not None:
                        raise broke_off(chunk.error.message)
                    usage = chunk.usage or usage
                    for choice in chunk.choices:
                        reason = choice.finish_reason or reason
                        if choice.text:
                            arrivals.append(time.monotonic())
                            if heard is not None:
                                heard(arrivals[-1])
        if not reason:
            raise broke_off("it ended without a reason")
        return Answer(
            began=began,
            ended=time.monotonic(),
            arrivals=tuple(arrivals),
            prompt_tokens=usage.prompt_tokens,
            tokens=usage.completion_tokens,
            reason=reason,
            cached_tokens=usage.prompt_tokens_details.cached_tokens,
        )

    def _stream(self, body: Mapping[str, object]) -> "_Response":
        return _Response(self._client, self._url, body)


class _Response:
    """`httpx.AsyncClient.stream` of a completion whose errors are `ApiError`."""

    def __init__(self, client: "httpx.AsyncClient", url: str, body: Mapping[str, object]) -> None:
        self._url = url
        self._stream = client.stream("POST", "/v1/completions", json=body)

    async def __aenter__(self) -> "httpx.Response":
        import httpx

        try:
            return await self._stream.__aenter__()
        except httpx.HTTPError as error:
            raise self._fault(error) from error

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: object
    ) -> None:
        import httpx

        await self._stream.__aexit__(None, None, None)
        if isinstance(error, httpx.HTTPError):
            raise self._fault(error) from error

    def _fault(self, error: Exception) -> ApiError:
        return ApiError(f"the API at {self._url}: {str(error) or type(error).__name__}", LOGS)


def _chunk_of(data: bytes) -> _Chunk:
    try:
        return _chunk.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(f"the API sent what is no completion: {error}", LOGS) from error
