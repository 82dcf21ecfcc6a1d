"""POST /v1/completions. Owns the bodies of this endpoint; the answer's text is `generate`'s."""

import asyncio
import time
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from ringcore.gateway.errors import invalid
from ringcore.gateway.generate import Answer, Generator
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
    async for piece in answer.pieces():
        text += piece.text
        reason = piece.finish_reason
    head = _head(answer, model)
    return {**head, "choices": [_choice(text, reason)], "usage": answer.usage}


async def stream(answer: Answer, model: str, include_usage: bool) -> AsyncGenerator[dict[str, Any]]:
    head = _head(answer, model)
    async for piece in answer.pieces():
        usage = {"usage": None} if include_usage else {}
        yield {**head, "choices": [_choice(piece.text, piece.finish_reason)], **usage}
    if include_usage:
        yield {**head, "choices": [], "usage": answer.usage}


def _choice(text: str, reason: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}


def _head(answer: Answer, model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{answer.request.id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }
