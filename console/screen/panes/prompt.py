"""Pane 5: the conversation with the model, streamed; the input; figures after each answer.

Knows how to ask (a callable) and values of `console.ports`; not how the question travels.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, suppress

from textual import on
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Markdown, Static
from textual.worker import Worker, WorkerCancelled

from console.logs.text import safe_piece, safe_text
from console.ports import ChatDelta, ChatMessage
from console.screen.actions import hints
from console.screen.clipboard import copy
from console.screen.panes.pane import Pane
from console.screen.panes.prompt_input import PromptInput
from console.screen.phrases import fitted
from console.screen.picture import Picture, why_no_chat
from console.screen.theme import BAD, DIM
from ringcore.spec.errors import Failure, MlxringError

Chat = Callable[[Sequence[ChatMessage]], AsyncIterator[ChatDelta]]
GROUP = "chat"
_CUT = {"length": "cut at the length limit", "cancelled": "cancelled"}


class PromptPane(Pane):
    NAME = "prompt"
    SCOPE = "prompt"

    def __init__(self, chat: Chat) -> None:
        super().__init__()
        self._chat = chat
        self._talk = VerticalScroll(classes="talk", can_focus=True)
        self._input = PromptInput()
        self._hint = Static(markup=False, classes="hint")
        self._turns = 0
        self._messages: list[ChatMessage] = []
        self._answering: Worker[None] | None = None
        self._reason = ""

    def compose(self) -> ComposeResult:
        yield self._talk
        yield self._hint
        yield self._input

    def on_mount(self) -> None:
        self._talk.anchor()
        self._label()

    @property
    def target(self) -> Widget:
        return self._input

    @property
    def answering(self) -> bool:
        return self._answering is not None and not self._answering.is_finished

    @property
    def messages(self) -> Sequence[ChatMessage]:
        """The conversation as the next question will send it."""
        return tuple(self._messages)

    def show(self, picture: Picture) -> None:
        # The input stays focusable: were it disabled while someone types, the letters would act as keys.
        self._reason = why_no_chat(picture)
        self._input.set_class(bool(self._reason), "off")
        self._input.placeholder = "Nothing can be asked now" if self._reason else "Ask the model; enter sends"
        self._label()

    def _label(self) -> None:
        """Why nothing can be asked, or how to begin; and what esc would do."""
        self._hint.display = bool(self._reason) or not self._turns
        hint = self._reason or "The ring serves. Type a question and press enter."
        self._hint.update(Content.styled(hint, DIM))
        self.border_subtitle = Content(hints("prompt", cancel="cancel" if self.answering else "keys"))

    # actions ------------------------------------------------------------------------------------

    def do_cancel(self) -> None:
        if self._answering is not None and self.answering:
            self._answering.cancel()
        else:
            self._talk.focus()

    async def do_fresh(self) -> None:
        if self._answering is not None and self.answering:
            self._answering.cancel()
            with suppress(WorkerCancelled):
                await self._answering.wait()
        self._messages = []
        self._turns = 0
        await self._talk.remove_children(".turn")
        self._label()

    async def do_copy_answer(self) -> None:
        answer = next((m.content for m in reversed(self._messages) if m.role == "assistant"), "")
        if answer:
            await copy(self.app, answer)
        self.notify("Copied the answer" if answer else "No answer to copy yet", markup=False, timeout=2)

    @on(PromptInput.Submitted)
    def _asked(self, event: PromptInput.Submitted) -> None:
        event.stop()
        text = event.value.strip()
        if not text:
            return
        if self._reason:
            self.notify(f"Not sent: {self._reason}", severity="warning", markup=False)
            return
        if self.answering:
            self.notify(
                "Not sent: an answer is on its way; esc breaks it off", severity="warning", markup=False
            )
            return
        self._input.remember(event.value)
        # A worker of the app, which hears of its defects: a pane's worker tells the pane alone.
        self._answering = self.app.run_worker(
            self._answer(text), group=GROUP, name="answer", exit_on_error=False
        )

    # the answer ---------------------------------------------------------------------------------

    async def _answer(self, question: str) -> None:
        self._turns += 1
        self._label()
        messages = self._messages  # a new conversation gets a list of its own
        messages.append(ChatMessage("user", question))
        answer, below = Markdown(classes="turn answer", open_links=False), Figures()
        await self._talk.mount_all(
            [Static(Content(question), markup=False, classes="turn question"), answer, below]
        )
        self._talk.anchor()
        text: list[str] = []
        stream = Markdown.get_stream(answer)
        last = ChatDelta()
        end: Content | None = Content.styled("the answer broke off without a reason; see Logs", BAD)
        try:
            async with aclosing(_closable(self._chat(tuple(messages)))) as deltas:
                async for delta in deltas:
                    if delta.text:
                        piece = safe_piece(delta.text)
                        text.append(piece)
                        await stream.write(piece)
                    last = delta
            if last.finish_reason:
                end = None
        except MlxringError as error:
            end = failure_text(error.failure)
        except asyncio.CancelledError:
            end = Content.styled("cancelled: the ring no longer works on it", "$text-warning")
            raise
        finally:
            # Reached by a cancel too: what came so far stays, and says that it is not the whole answer.
            with suppress(asyncio.CancelledError):  # its task may be cancelled before its first step
                await stream.stop()
            if end is None:
                below.tell(last)
            else:
                below.update(end)
            self._answering = None
            self._label()
            if text:
                messages.append(ChatMessage("assistant", "".join(text)))
            else:
                messages.pop()


class Figures(Static):
    """What an answer took, drawn anew when the width changes; until it ends, that it is on its way."""

    def __init__(self) -> None:
        waiting = Content.styled("… answering; esc breaks it off", DIM)
        super().__init__(waiting, markup=False, classes="turn figures")
        self._last: ChatDelta | None = None

    def tell(self, last: ChatDelta) -> None:
        self._last = last
        self._draw()

    def on_resize(self) -> None:
        self._draw()

    def _draw(self) -> None:
        if self._last is not None:
            self.update(Content.styled(fitted(figures(self._last), self.content_size.width), DIM))


async def _closable(deltas: AsyncIterator[ChatDelta]) -> AsyncGenerator[ChatDelta, None]:
    """The same deltas; closing this closes ``deltas`` at once, which frees the ring."""
    try:
        async for delta in deltas:
            yield delta
    finally:
        if isinstance(deltas, AsyncGenerator):
            await deltas.aclose()


def figures(last: ChatDelta) -> Iterator[str]:
    """``14.2 tok/s``, ``first token 0.8 s``, ``120 tokens``, ``1,024 of 1,180 tokens from cache``"""
    yield f"{last.tokens_per_second:.1f} tok/s"
    yield f"first token {last.first_token_seconds:.1f} s"
    yield f"{last.completion_tokens:,} tokens"
    if last.cached_tokens is not None:
        yield cache_words(last)
    if last.finish_reason in _CUT:
        yield _CUT[last.finish_reason]


def cache_words(last: ChatDelta) -> str:
    """How much of the prompt did not have to be computed again."""
    if not last.cached_tokens:
        return f"none of {last.prompt_tokens:,} tokens from cache"
    return f"{last.cached_tokens:,} of {last.prompt_tokens:,} tokens from cache"


def failure_text(failure: Failure) -> Content:
    cause = Content.styled(f"✗ {safe_text(failure.cause)}", BAD)
    if not failure.remedy:
        return cause
    return Content.assemble(cause, "\n", ("remedy: ", "bold"), safe_text(failure.remedy))
