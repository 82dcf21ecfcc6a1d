"""POST /v1/chat/completions. Owns the bodies of this endpoint; the answer's text is `generate`'s."""

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from msgspec import Struct

from ringcore.gateway.asking import Asked, ask
from ringcore.gateway.choices import Choices
from ringcore.gateway.conversations import Conversations
from ringcore.gateway.generate import Answer, Generator
from ringcore.gateway.logprobs import Scored, chat_logprobs
from ringcore.gateway.messages import CalledFunction, Message, ToolCall
from ringcore.gateway.parameters import ChatParameters, Common
from ringcore.gateway.turn import Turn


class Step(Struct, frozen=True):
    """What came of one piece: the number of a choice, its deltas and scored tokens, why it ended ("" while it
    goes on); ``read``: see `Piece`."""

    index: int
    deltas: list[dict[str, Any]]
    scored: tuple[Scored, ...]
    reason: str
    read: int


class Chat(Choices):
    """A chat's answers, each with its turn, and the conversation that they belong to."""

    def __init__(self, answers: Sequence[Answer], turns: Sequence[Turn], talk: "_Talk | None") -> None:
        super().__init__(answers, len(answers))
        self.turns = tuple(turns)
        self.talk = talk

    async def __aexit__(self, *_: object) -> None:
        await super().__aexit__()
        if self.talk is not None:
            self.talk.leave()

    async def steps(self) -> AsyncGenerator[Step]:
        """To the end of every choice."""
        ended: set[int] = set()
        async for index, piece in self.pieces():
            if index in ended:
                continue
            turn = self.turns[index]
            deltas = turn.take(piece)
            reason = turn.reason(piece.finish_reason or ("stop" if turn.enough else ""))
            if reason:
                ended.add(index)
                self.answers[index].enough()
                if self.talk is not None:
                    self.talk.end(turn, self.usage["total_tokens"])
            yield Step(index, deltas, piece.scored, reason, piece.read)
            if len(ended) == len(self.answers):
                return


class _Talk:
    """One turn of a conversation that the gateway holds."""

    def __init__(self, conversations: Conversations, name: str, new: Sequence[Message]) -> None:
        self.name = name
        self._conversations = conversations
        self.messages = conversations.begin(name, new)

    def end(self, turn: Turn, tokens: int) -> None:
        calls = [
            ToolCall(CalledFunction(**call["function"]), call["id"]) for call in turn.calls
        ] or None  # none at all is written as nothing
        answer = Message(role="assistant", content=turn.content, tool_calls=calls)
        self._conversations.end(self.name, (*self.messages, answer), tokens)

    def leave(self) -> None:
        self._conversations.leave(self.name)


class ChatEndpoint:
    """``conversations`` are those that ``conversation_id`` names."""

    def __init__(self, conversations: Conversations) -> None:
        self._conversations = conversations

    async def start(self, generator: Generator, parameters: ChatParameters) -> Chat:
        """Raises `ApiFault`."""
        name, talk = parameters.conversation_id, None
        if name is not None:
            talk = _Talk(self._conversations, name, parameters.messages)
        try:
            messages = parameters.messages if talk is None else talk.messages
            asked = await ask(generator.text, parameters, messages)
            answers = generator.start(
                asked.prompt,
                parameters,
                "messages",
                decode=generator.text.decode_with_marks(asked.marks),
                grammar=asked.grammar,
            )
        except BaseException:
            if talk is not None:
                talk.leave()
            raise
        return Chat(answers, [_turn(generator, parameters, asked) for _ in answers], talk)


def _turn(generator: Generator, parameters: ChatParameters, asked: Asked) -> Turn:
    one_call = not parameters.parallel_tool_calls or parameters.must_call
    return Turn(generator.text.dialect, asked.marks, asked.tools, one_call=one_call)


async def whole(chat: Chat, model: str) -> dict[str, Any]:
    reasons = [""] * len(chat.answers)
    scored: list[list[Scored]] = [[] for _ in chat.answers]
    async for step in chat.steps():
        scored[step.index] += step.scored
        reasons[step.index] = step.reason
    choices = [
        {
            "index": index,
            "message": turn.message(),
            "logprobs": chat_logprobs(scored[index], answer.token_bytes) if answer.logprobs else None,
            "finish_reason": reasons[index],
        }
        for index, (answer, turn) in enumerate(zip(chat.answers, chat.turns, strict=True))
    ]
    return {**_head(chat, model, "chat.completion"), "choices": choices, "usage": chat.usage}


async def stream(chat: Chat, model: str, parameters: Common) -> AsyncGenerator[dict[str, Any]]:
    head = _head(chat, model, "chat.completion.chunk")
    more = {"usage": None} if parameters.include_usage else {}

    def chunk(
        index: int, delta: dict[str, Any], tokens: Sequence[Scored] = (), reason: str | None = None
    ) -> dict[str, Any]:
        logprobs = chat_logprobs(tokens, chat.answers[index].token_bytes) if tokens else None
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return {**head, "choices": [choice], **more}

    for index in range(len(chat.answers)):
        yield chunk(index, {"role": "assistant", "content": ""})
    async for step in chat.steps():
        index, deltas, tokens = step.index, step.deltas, step.scored
        if step.read and parameters.return_progress:
            yield {**chunk(index, {}), "prompt_progress": chat.answers[index].request.progress(step.read)}
        if tokens and not deltas:
            deltas = [{"content": ""}]
        for number, delta in enumerate(deltas):
            yield chunk(index, delta, () if number else tokens)
        if step.reason:
            yield chunk(index, {}, reason=step.reason)
    if parameters.include_usage:
        yield {**head, "choices": [], "usage": chat.usage}


def _head(chat: Chat, model: str, kind: str) -> dict[str, Any]:
    head = {"id": f"chatcmpl-{chat.id}", "object": kind, "created": int(time.time()), "model": model}
    return head if chat.talk is None else {**head, "conversation_id": chat.talk.name}
