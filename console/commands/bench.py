"""``mlxring bench``: how fast the ring that serves is, measured through its API, and how busy each stage.

Breaking off (ctrl+c) frees every request's place on the ring.
"""

import argparse
import asyncio
import sys
from contextlib import suppress

from console.bench.completions import Completions
from console.bench.prompts import Prompts
from console.bench.report import Bench, Level, level, table
from console.bench.rounds import Round, play
from console.bench.stages import Stages, StageUse
from console.commands.chat import why
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.logs.text import safe_text
from ringcore.spec.errors import ApiError, MlxringError, NotRunning, ProfileError

LEVELS = (1, 2, 4, 8)
_WARM_TOKENS = 8
_MOST_AT_ONCE = 256


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument(
        "--concurrency",
        type=_levels,
        metavar="1,2,4",
        help="requests at once (1, 2, 4 and 8, and no more than the profile's sequences)",
    )
    parser.add_argument("--prompt-tokens", type=_count, default=128, metavar="N", help="of each prompt (128)")
    parser.add_argument("--tokens", type=_count, default=64, metavar="N", help="of each answer (64)")
    parser.add_argument("--repeat", type=_count, default=3, metavar="N", help="rounds of each level (3)")


def _count(text: str) -> int:
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not 1 or more")
    return number


def _levels(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        levels = ()
    if not levels or levels[0] < 1 or levels[-1] > _MOST_AT_ONCE:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers such as 1,2,4")
    return levels


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        await _serving(session)
        levels = _fitting(arguments, session)
        plan, hosts = session.state.plan, session.state.hosts
        stages = Stages(tuple(host.name for host in hosts[: len(plan.stages) if plan else None]))
        session.watchers.append(stages)
        following = asyncio.create_task(session.operator.follow(), name="follow the journals")
        try:
            bench = await _measure(arguments, session, stages, levels)
        except ApiError as error:
            await _end(following)
            raise await why(session, error) from None
        finally:
            await _end(following)
        if arguments.json:
            answer(bench)
        else:
            say(safe_text(table(bench)))
        return 0

    return with_cluster(arguments, act, quiet=True)


async def _serving(session: Session) -> None:
    """Raises `NotRunning`, or what the ring failed with, or that it does not serve yet."""
    from console.cluster.operator import not_running

    running = await session.operator.replay()
    state = session.state
    if state.ring_phase == "failed" and state.failure is not None:
        raise MlxringError.of(state.failure)
    if not running:
        raise not_running(session.profile)
    if state.ring_phase != "serving":
        raise NotRunning(
            f"the ring {state.name} does not serve: it is {state.ring_phase or 'silent'}",
            "measure it when `mlxring status` says that it serves",
        )


def _fitting(arguments: argparse.Namespace, session: Session) -> tuple[int, ...]:
    """The levels to measure. Raises `ProfileError` when a request would not fit the ring's context."""
    plan, ring = session.state.plan, session.profile.ring
    context = plan.context if plan else ring.context
    sequences = plan.sequences if plan else ring.sequences
    asked = arguments.prompt_tokens + arguments.tokens
    if asked > context:
        raise ProfileError(
            f"a prompt of {arguments.prompt_tokens} tokens and an answer of {arguments.tokens} need {asked}; "
            f"this ring's context is {context}",
            "ask for fewer with --prompt-tokens and --tokens, or raise ring.context in the profile",
        )
    return arguments.concurrency or tuple(count for count in LEVELS if count <= sequences)


async def _measure(
    arguments: argparse.Namespace, session: Session, stages: Stages, levels: tuple[int, ...]
) -> Bench:
    state = session.state
    found: list[Level] = []
    async with Completions(await session.operator.api(), key=await session.operator.api_key()) as api:
        prompts = Prompts(await api.vocabulary())
        _progress("warming up")
        before = stages.before()
        await play(api, [prompts.take(arguments.prompt_tokens)], min(_WARM_TOKENS, arguments.tokens))
        await stages.after(before, 1.0)
        for concurrency in levels:
            rounds: list[Round] = []
            uses: list[tuple[StageUse, ...]] = []
            for number in range(arguments.repeat):
                _progress(f"{concurrency} at once, round {number + 1} of {arguments.repeat}")
                before = stages.before()
                asked = [prompts.take(arguments.prompt_tokens) for _ in range(concurrency)]
                rounds.append(await play(api, asked, arguments.tokens))
                uses.append(await stages.after(before, rounds[-1].seconds))
            found.append(level(concurrency, rounds, uses))
            _progress(f"{concurrency} at once: {_short(found[-1])}")
    return Bench(
        ring=state.name,
        model=state.model,
        ranks=len(state.plan.stages if state.plan else state.hosts),
        prompt_tokens=arguments.prompt_tokens,
        max_tokens=arguments.tokens,
        repeat=arguments.repeat,
        sequences=state.plan.sequences if state.plan else session.profile.ring.sequences,
        levels=tuple(found),
    )


async def _end(following: "asyncio.Task[None]") -> None:
    following.cancel()
    with suppress(asyncio.CancelledError, MlxringError):
        await following


def _short(found: Level) -> str:
    decode = f"{found.decode_rate.median:.1f}" if found.decode_rate.count else "-"
    return f"prompt {found.prompt_rate.median:.1f}, decode {decode} tok/s"


def _progress(text: str) -> None:
    sys.stderr.write(f"bench  {text}\n")
    sys.stderr.flush()
