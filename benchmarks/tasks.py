"""What a contender is asked to do, and what its times say. Both sides of a pipe read it; needs no MLX."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import msgspec
from msgspec import Struct

from console.bench.completions import Answer
from console.bench.rounds import judge
from console.bench.statistics import percentile

Kind = Literal["decode", "prefill", "stall"]


class Task(Struct, frozen=True, kw_only=True):
    """``prompts`` are asked at once, for ``tokens`` tokens each.

    ``stall``: once every stream has ``lead`` tokens, ``late`` arrives, and all go on until ``late`` has
    its first token and every stream two more; without ``late`` they run to their ``tokens``.
    """

    kind: Kind
    prompts: tuple[tuple[int, ...], ...]
    tokens: int
    late: tuple[int, ...] = ()
    lead: int = 8


class Played(Struct, frozen=True, kw_only=True):
    """The answers in the order of the prompts, then that of ``late``. Times are of one machine's monotonic
    clock, the same in all its processes."""

    answers: tuple[Answer, ...] = ()
    fault: str = ""


class Hello(Struct, frozen=True, kw_only=True):
    """A reference process's first line."""

    computes_with: str
    fault: str = ""


task_decoder = msgspec.json.Decoder(Task)
played_decoder = msgspec.json.Decoder(Played)
hello_decoder = msgspec.json.Decoder(Hello)


def figure(task: Task, groups: Sequence[Sequence[Answer]]) -> float:
    """Tokens a second of a decode or a prefill, seconds (the 99th percentile of gaps) of a stall.

    ``groups``: the answers of each process that works for itself; their rates add up.
    Raises ``ValueError`` when the answers do not tell.
    """
    if task.kind == "prefill":
        return sum(judge(answers, task.tokens).prompt_rate for answers in groups)
    if task.kind == "decode":
        return sum(_decode_rate(task, answers) for answers in groups)
    return percentile([gap for answers in groups for gap in stall_gaps(task, answers)], 0.99)


def _decode_rate(task: Task, answers: Sequence[Answer]) -> float:
    rate = judge(answers, task.tokens).decode_rate
    if rate is None:
        raise ValueError("the answers never ran together: ask for more tokens")
    return rate


def stall_gaps(task: Task, answers: Sequence[Answer]) -> list[float]:
    """Gaps of the streams: all that touch the time from the late prompt's arrival to its first token; or
    those after every stream has its lead, where no prompt came late."""
    if task.late:
        *streams, late = answers
        return [
            after - before
            for stream in streams
            for before, after in pairwise(stream.arrivals)
            if after > late.began and before < late.first
        ]
    running = max(stream.arrivals[task.lead - 1] for stream in answers)
    return [
        after - before
        for stream in answers
        for before, after in pairwise(stream.arrivals)
        if before >= running
    ]
