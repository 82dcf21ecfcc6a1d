"""POST /v1/completions. Owns the bodies of this endpoint; the answer's text is `generate`'s."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any

from ringcore.gateway.choices import Choices
from ringcore.gateway.errors import invalid
from ringcore.gateway.generate import Answer, Generator
from ringcore.gateway.logprobs import Scored, completion_logprobs
from ringcore.gateway.parameters import MAX_CHOICES, Common, CompletionParameters


class Completions(Choices):
    """``before``: what each answer begins with, its prompt where that is to be echoed."""

    def __init__(self, answers: Sequence[Answer], each: int, before: Sequence[str]) -> None:
        super().__init__(answers, each)
        self.before = tuple(before)


async def start(generator: Generator, parameters: CompletionParameters) -> Completions:
    """Raises `ApiFault`."""
    prompts = _prompts(parameters)
    if len(prompts) * parameters.n > MAX_CHOICES:
        raise invalid(
            f"prompt: {len(prompts)} prompts with n {parameters.n} are {len(prompts) * parameters.n} "
            f"answers, {MAX_CHOICES} are allowed",
            param="prompt",
        )
    encode = partial(generator.text.encode, special=True)
    tokens = [p if isinstance(p, list) else await asyncio.to_thread(encode, p) for p in prompts]
    before = [_as_text(generator, p) if parameters.echo else "" for p in prompts for _ in range(parameters.n)]
    answers: list[Answer] = []
    try:
        for each in tokens:
            answers += generator.start(each, parameters, "prompt")
    except BaseException:
        await Choices(answers, 1).__aexit__()
        raise
    return Completions(answers, parameters.n, before)


def _as_text(generator: Generator, prompt: str | list[int]) -> str:
    if isinstance(prompt, str):
        return prompt
    try:
        return generator.text.decode(prompt)
    except (
        OverflowError,
        TypeError,
        IndexError,
    ):  # ids that no vocabulary has are refused with their numbers
        return ""


def _prompts(parameters: CompletionParameters) -> list[str | list[int]]:
    prompt = parameters.prompt
    if isinstance(prompt, str):
        return [prompt]
    ids = [item for item in prompt if isinstance(item, int)]
    if len(ids) == len(prompt):
        return [ids]
    texts = [item for item in prompt if not isinstance(item, int)]
    if len(texts) != len(prompt):
        raise invalid("prompt: texts, or lists of token ids, or the ids of one text", param="prompt")
    return texts


async def whole(choices: Completions, model: str) -> dict[str, Any]:
    count = len(choices.answers)
    texts, reasons = list(choices.before), [""] * count
    scored: list[list[Scored]] = [[] for _ in range(count)]
    async for index, piece in choices.pieces():
        texts[index] += piece.text
        scored[index] += piece.scored
        reasons[index] = piece.finish_reason or ""
    found = [
        _choice(answer, index, texts[index], scored[index], reasons[index])
        for index, answer in enumerate(choices.answers)
    ]
    return {**_head(choices, model), "choices": found, "usage": choices.usage}


async def stream(choices: Completions, model: str, parameters: Common) -> AsyncGenerator[dict[str, Any]]:
    head = _head(choices, model)
    usage = {"usage": None} if parameters.include_usage else {}
    for index, text in enumerate(choices.before):
        if text:
            yield {**head, "choices": [_choice(choices.answers[index], index, text, (), None)], **usage}
    async for index, piece in choices.pieces():
        if piece.read and not parameters.return_progress:
            continue
        choice = _choice(choices.answers[index], index, piece.text, piece.scored, piece.finish_reason)
        progress = (
            {"prompt_progress": choices.answers[index].request.progress(piece.read)} if piece.read else {}
        )
        yield {**head, "choices": [choice], **usage, **progress}
    if parameters.include_usage:
        yield {**head, "choices": [], "usage": choices.usage}


def _choice(
    answer: Answer, index: int, text: str, scored: Sequence[Scored], reason: str | None
) -> dict[str, Any]:
    logprobs = completion_logprobs(scored, answer.token_bytes) if answer.logprobs else None
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _head(choices: Choices, model: str) -> dict[str, Any]:
    return {
        "id": f"cmpl-{choices.id}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
    }
