"""Several answers as one: those of a request with ``n``, or with several prompts.

Owns that all of them are left together, and their order. Knows nothing of HTTP's bodies.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from ringcore.gateway.generate import Answer, Piece


class Choices:
    """Use as ``async with``: leaving early cancels what is left of them on the ring. ``each`` answers belong
    to one prompt, which is counted once."""

    def __init__(self, answers: Sequence[Answer], each: int) -> None:
        self.answers = tuple(answers)
        self._each = each

    async def __aenter__(self) -> "Choices":
        return self

    async def __aexit__(self, *_: object) -> None:
        for answer in self.answers:
            await answer.__aexit__()

    @property
    def id(self) -> str:
        return self.answers[0].request.id

    @property
    def usage(self) -> dict[str, Any]:
        prompt = sum(answer.request.prompt_tokens for answer in self.answers[:: self._each])
        answer = sum(answer.tokens for answer in self.answers)
        cached = sum(answer.request.cached_tokens for answer in self.answers[:: self._each])
        return {
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    @property
    def read(self) -> tuple[int, int]:
        """Tokens of all the prompts that are computed, and of how many."""
        requests = [answer.request for answer in self.answers]
        return sum(r.read_tokens for r in requests), sum(r.prompt_tokens for r in requests)

    async def settle(self) -> None:
        """See `Answer.settle`."""
        await asyncio.gather(*(answer.settle() for answer in self.answers))

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece]]:
        """The number of a choice with a piece of it, as they come. Raises `ApiFault`."""
        if len(self.answers) == 1:
            async with aclosing(self.answers[0].pieces()) as pieces:
                async for piece in pieces:
                    yield 0, piece
            return
        arrivals: asyncio.Queue[tuple[int, Piece | Exception]] = asyncio.Queue()

        async def read(index: int, answer: Answer) -> None:
            try:
                async with aclosing(answer.pieces()) as pieces:
                    async for piece in pieces:
                        arrivals.put_nowait((index, piece))
            except Exception as error:  # noqa: BLE001 - raised again below, where somebody waits
                arrivals.put_nowait((index, error))

        readers = [asyncio.create_task(read(*each)) for each in enumerate(self.answers)]
        try:
            left = len(readers)
            while left:
                index, arrival = await arrivals.get()
                if isinstance(arrival, Exception):
                    raise arrival
                left -= arrival.finish_reason is not None
                yield index, arrival
        finally:
            for reader in readers:
                reader.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
