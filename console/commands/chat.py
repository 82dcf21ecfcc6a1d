"""``mlxring chat``: one question (``-p``, or standard input), or a conversation on a terminal."""

import argparse
import asyncio
import sys

from console.commands.runtime import Session, answer, configure_profile, with_cluster
from console.commands.terminal import typed, types_here
from console.logs.text import safe_piece
from console.ports import ChatDelta, ChatMessage
from ringcore.spec.errors import ApiError, MlxringError, ProfileError, RingError

# how long a ring that broke under an answer may take to say why
LAST_WORDS = 6.0


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument("-p", "--prompt", metavar="TEXT", help="ask this and exit")


def run(arguments: argparse.Namespace) -> int:
    prompt: str | None = arguments.prompt
    if prompt is None and not types_here():
        prompt = _given()
    if prompt is not None and not prompt.strip():
        raise ProfileError("there is no question", "ask with -p TEXT, on standard input, or at a terminal")

    async def act(session: Session) -> int:
        if prompt is None:
            return await converse(session)
        text, last = await ask(session, [ChatMessage("user", prompt)], echo=not arguments.json)
        if arguments.json:
            answer({"text": text, "figures": last})
        else:
            sys.stderr.write(figures(last) + "\n")
        return 0

    return with_cluster(arguments, act, quiet=True)


def _given() -> str:
    """All of standard input. To be read before anything runs that an interrupt has to end."""
    return sys.stdin.buffer.read().decode(errors="replace") if sys.stdin is not None else ""


async def converse(session: Session) -> int:
    """Questions from the terminal until ctrl+d; the conversation is kept."""
    messages: list[ChatMessage] = []
    while True:
        sys.stderr.write("> ")
        sys.stderr.flush()
        line = await typed(sys.stdin.fileno())
        if line is None:
            sys.stderr.write("\n")
            return 0
        if not line.strip():
            continue
        messages.append(ChatMessage("user", line.strip()))
        text, last = await ask(session, messages, echo=True)
        messages.append(ChatMessage("assistant", text))
        sys.stderr.write(figures(last) + "\n")


async def ask(session: Session, messages: list[ChatMessage], *, echo: bool) -> tuple[str, ChatDelta]:
    """Stream one answer to stdout; the whole text and the last delta (with the figures)."""
    text, last = "", ChatDelta()
    try:
        async for delta in session.operator.chat(messages):
            text += delta.text
            last = delta
            if echo:
                sys.stdout.write(safe_piece(delta.text))
                sys.stdout.flush()
    except ApiError as error:
        if text and echo:
            sys.stdout.write("\n")
        raise await why(session, error) from None
    if echo:
        sys.stdout.write("\n")
        sys.stdout.flush()
    return text, last


async def why(session: Session, error: ApiError) -> MlxringError:
    """The ring's own failure when that is what ended the answer, else the API's error."""
    deadline = asyncio.get_running_loop().time() + LAST_WORDS
    running = True
    lost: MlxringError | None = None
    while running and asyncio.get_running_loop().time() < deadline:
        try:
            running, lost = await session.operator.replay(), None
        except MlxringError as problem:
            if problem.failure.host == session.profile.leader.name:
                raise
            lost = problem  # the host that is gone may be why: the leader says so, and has been heard
        failure = session.state.failure
        if session.state.ring_phase == "failed" and failure is not None:
            return RingError(failure.cause, failure.remedy, host=failure.host, rank=failure.rank)
        if lost or (session.state.ring_phase == "serving" and session.state.api_url and running):
            await asyncio.sleep(0.5)
    if not running:
        from console.cluster.operator import not_running

        return not_running(session.profile)
    return lost or error


def figures(last: ChatDelta) -> str:
    """One line about an answer."""
    cached = "" if last.cached_tokens is None else f" ({last.cached_tokens} from cache)"
    return (
        f"{last.prompt_tokens} prompt tokens{cached}, {last.completion_tokens} tokens, "
        f"first token {last.first_token_seconds:.2f} s, {last.tokens_per_second:.1f} tok/s, "
        f"{last.finish_reason or 'no end'}"
    )
