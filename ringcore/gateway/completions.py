"""POST /v1/completions. Owns the bodies of this endpoint; the answer's text is `generate`'s."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from ringcore.gateway.errors import invalid
from ringcore.gateway.generate import Answer, Generator
from ringcore.gateway.logprobs import Scored, completion_logprobs
from ringcore.gateway.parameters import CompletionParameters


async def start(generator: Generator, parameters: CompletionParameters) -> Answer:
    """Raises `ApiFault`."""
    prompt = parameters.prompt
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str):
        prompt = prompt[0]
    if isinstance(prompt, str):
        tokens = await asyncio.to_thread(partial(generator.text.encode, prompt, special=True))
        return generator.start(tokens, parameters, "prompt")
    tokens = [token for token in prompt if isinstance(token, int)]
    if len(tokens) != len(prompt):
        raise invalid("prompt: one text, or the token ids of one text", param="prompt")
    return generator.start(tokens, parameters, "prompt")


async def whole(answer: Answer, model: str) -> dict[str, Any]:
    text, reason = "", None
    scored: list[Scored] = []
    async for piece in answer.pieces():
        text += piece.text
        scored += piece.scored
        reason = piece.finish_reason
    head = _head(answer, model)
    return {**head, "choices": [_choice(answer, text, scored, reason)], "usage": answer.usage}


async def stream(answer: Answer, model: str, include_usage: bool) -> AsyncGenerator[dict[str, Any]]:
    head = _head(answer, model)
    async for piece in answer.pieces():
        usage = {"usage": None} if include_usage else {}
        choice = _choice(answer, piece.text, piece.scored, piece.finish_reason)
        yield {**head, "choices": [choice], **usage}
    if include_usage:
        yield {**head, "choices": [], "usage": answer.usage}


def _choice(answer: Answer, text: str, scored: Sequence[Scored], reason: str | None) -> dict[str, Any]:
    logprobs = completion_logprobs(scored, answer.token_bytes) if answer.logprobs else None
    return {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _head(answer: Answer, model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{answer.request.id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }
