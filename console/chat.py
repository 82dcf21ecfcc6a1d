"""Streaming client of the ring's HTTP API: one conversation in, pieces of the answer out.

Owns the request, the wire format of its stream and the figures measured on this side. Knows nothing of
SSH or of the screen: ``base_url`` is already a port on this machine.
"""

import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing

import msgspec
from msgspec import Struct

from console.ports import ChatDelta, ChatMessage
from console.sse import LOGS, broke_off, events
from ringcore.spec.errors import ApiError

CONNECT_SECONDS = 10.0
# Nothing comes while a long prompt is prefilled, or waits for its turn behind others.
SILENCE_SECONDS = 600.0

_REMEDIES = {
    "context_length_exceeded": "start a new conversation, or raise `context` under [ring] in the profile",
    "queue_full": "ask again in a moment, or raise `sequences` under [ring] in the profile",
    "unavailable": "ask again when `mlxring status` says that the ring serves; `mlxring logs` says why not",
}


class _Error(Struct, frozen=True):
    message: str = "no reason given"
    code: str | int | None = None


class _Part(Struct, frozen=True):
    content: str | None = None


class _Choice(Struct, frozen=True):
    delta: _Part = _Part()
    finish_reason: str | None = None


class _PromptDetails(Struct, frozen=True):
    cached_tokens: int | None = None


class _Usage(Struct, frozen=True):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None


class _Chunk(Struct, frozen=True):
    """What is read of a ``chat.completion.chunk``, or of an error that takes its place."""

    choices: tuple[_Choice, ...] = ()
    usage: _Usage | None = None
    error: _Error | None = None


_chunk = msgspec.json.Decoder(_Chunk)


async def stream_chat(
    base_url: str,
    messages: Sequence[ChatMessage],
    *,
    key: str = "",
    silence_seconds: float = SILENCE_SECONDS,
) -> AsyncGenerator[ChatDelta, None]:
    """Ask, and yield the answer as it comes; the last delta has no text but the figures. ``key`` is sent
    where there is one.

    Closing this closes the connection at once, which frees the request's place on the ring. Raises
    `ApiError` when the API cannot be reached, refuses, breaks off, or is silent for ``silence_seconds``.
    """
    # Takes 90 ms, which only a command that chats should pay.
    import httpx

    body = {
        "messages": [{"role": message.role, "content": _sendable(message.content)} for message in messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    # trust_env: a proxy cannot reach this machine's loopback. verify: the port is one that SSH forwards,
    # which has proved who is there, and a certificate names another host than 127.0.0.1.
    client = httpx.AsyncClient(
        base_url=base_url,
        trust_env=False,
        verify=False,
        headers={"Authorization": f"Bearer {key}"} if key else None,
        timeout=httpx.Timeout(CONNECT_SECONDS, read=silence_seconds),
    )
    try:
        async with client:
            meter = _Meter()
            async with client.stream("POST", "/v1/chat/completions", json=body) as response:
                if response.status_code != 200:
                    raise _refusal(response.status_code, await response.aread())
                async with aclosing(_chunks(response.aiter_bytes())) as chunks:
                    async for chunk in chunks:
                        if text := meter.take(chunk):
                            yield ChatDelta(text=text)
            yield meter.last()
    except httpx.ReadTimeout as error:
        raise ApiError(
            f"the API at {base_url} sent nothing for {silence_seconds:g} s", f"the ring may hang: {LOGS}"
        ) from error
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise ApiError(f"the API at {base_url} cannot be reached: {_reason(error)}", LOGS) from error
    except httpx.HTTPError as error:
        raise broke_off(str(error) or type(error).__name__) from error


def _sendable(text: str) -> str:
    """Without what UTF-8 cannot say: bytes of a command line that were no text."""
    return text.encode(errors="replace").decode()


class _Meter:
    """What an answer adds up to. Times are seconds from the sending of the request."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._first = self._last = 0.0
        self._reason = ""
        self._usage = _Usage()

    def take(self, chunk: _Chunk) -> str:
        """The chunk's text. Raises `ApiError` for one that is an error."""
        if chunk.error is not None:
            raise _error(chunk.error.message, chunk.error.code)
        self._usage = chunk.usage or self._usage
        text = ""
        for choice in chunk.choices:
            text += choice.delta.content or ""
            self._reason = choice.finish_reason or self._reason
        if text:
            self._last = time.monotonic() - self._began
            self._first = self._first or self._last
        return text

    def last(self) -> ChatDelta:
        if not self._reason:
            raise broke_off("it ended without a reason")
        between = self._last - self._first
        tokens = self._usage.completion_tokens
        details = self._usage.prompt_tokens_details
        return ChatDelta(
            finish_reason=self._reason,
            prompt_tokens=self._usage.prompt_tokens,
            completion_tokens=tokens,
            cached_tokens=details.cached_tokens if details else None,
            first_token_seconds=self._first,
            tokens_per_second=(tokens - 1) / between if tokens > 1 and between > 0 else 0.0,
        )


async def _chunks(parts: AsyncIterator[bytes]) -> AsyncGenerator[_Chunk, None]:
    """The events up to ``[DONE]``. Raises `ApiError` when they end before it."""
    async with aclosing(events(parts)) as found:
        async for data in found:
            try:
                chunk = _chunk.decode(data)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ApiError(f"the API sent what is no chat completion: {error}", LOGS) from error
            yield chunk


def _refusal(status: int, body: bytes) -> ApiError:
    try:
        error = _chunk.decode(body).error or _Error()
    except (msgspec.DecodeError, UnicodeDecodeError):
        error = _Error(message="no reason given")
    return _error(f"the API refused the request ({status}): {error.message}", error.code)


def _reason(error: BaseException) -> str:
    """The system's own word for it (connection refused), which libraries wrap."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.errno:
            return os.strerror(inner.errno)
        inner = inner.__cause__ or inner.__context__
    return str(error) or "no answer"


def _error(cause: str, code: str | int | None) -> ApiError:
    return ApiError(cause, _REMEDIES.get(str(code), LOGS))
