"""POST /v1/chat/completions. Owns the bodies of this endpoint; the answer's text is `generate`'s."""

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

from ringcore.gateway.generate import Answer, Generator, Piece
from ringcore.gateway.logprobs import Scored, chat_logprobs
from ringcore.gateway.parameters import ChatParameters


async def start(generator: Generator, parameters: ChatParameters) -> Answer:
    """Raises `ApiFault`."""
    messages = [{"role": message.role, "content": message.text} for message in parameters.messages]
    # A long conversation takes a while to encode; the other streams go on meanwhile.
    prompt = await asyncio.to_thread(generator.text.encode_chat, messages)
    return generator.start(prompt, parameters, "messages")


async def whole(answer: Answer, model: str) -> dict[str, Any]:
    text, reason = "", None
    scored: list[Scored] = []
    async for piece in answer.pieces():
        text += piece.text
        scored += piece.scored
        reason = piece.finish_reason
    message = {"role": "assistant", "content": text}
    logprobs = chat_logprobs(scored, answer.token_bytes) if answer.logprobs else None
    choice = {"index": 0, "message": message, "logprobs": logprobs, "finish_reason": reason}
    return {**_head(answer, model, "chat.completion"), "choices": [choice], "usage": answer.usage}


async def stream(answer: Answer, model: str, include_usage: bool) -> AsyncGenerator[dict[str, Any]]:
    head = _head(answer, model, "chat.completion.chunk")

    def chunk(delta: dict[str, str], piece: Piece | None = None, reason: str | None = None) -> dict[str, Any]:
        scored = piece.scored if piece is not None else ()
        logprobs = chat_logprobs(scored, answer.token_bytes) if scored else None
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return {**head, "choices": [choice], **({"usage": None} if include_usage else {})}

    yield chunk({"role": "assistant", "content": ""})
    async for piece in answer.pieces():
        if piece.text or piece.scored:
            yield chunk({"content": piece.text}, piece)
        if piece.finish_reason:
            yield chunk({}, reason=piece.finish_reason)
    if include_usage:
        yield {**head, "choices": [], "usage": answer.usage}


def _head(answer: Answer, model: str, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{answer.request.id}",
        "object": kind,
        "created": int(time.time()),
        "model": model,
    }
