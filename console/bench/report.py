"""What the rounds of each level add up to, as values and as a table. Pure."""

from collections.abc import Sequence

from msgspec import Struct

from console.bench.rounds import Round
from console.bench.stages import StageUse
from console.bench.statistics import Spread, percentile, spread


class Gaps(Struct, frozen=True, kw_only=True):
    """Seconds between two tokens of one stream, of all streams and rounds of a level."""

    count: int = 0
    p50: float = 0.0
    p99: float = 0.0
    longest: float = 0.0


class Level(Struct, frozen=True, kw_only=True):
    """All rounds with ``concurrency`` requests at once. Rates in tokens a second, times in seconds.

    ``decode_tokens``: over how many tokens each round's decode rate was taken. ``ended_early``: answers
    that an end token cut short; their rounds count with the window that they left.
    """

    concurrency: int
    rounds: int
    prompt_rate: Spread
    decode_rate: Spread
    decode_tokens: Spread
    first_token: Spread
    gaps: Gaps
    tokens: int
    ended_early: int
    stages: tuple[StageUse, ...]


class Bench(Struct, frozen=True, kw_only=True):
    """The whole answer of ``mlxring bench``."""

    ring: str
    model: str
    ranks: int
    prompt_tokens: int
    max_tokens: int
    repeat: int
    sequences: int
    early_end: str = "the round's window ends with the first answer; nothing is topped up"
    levels: tuple[Level, ...] = ()


def level(concurrency: int, rounds: Sequence[Round], uses: Sequence[Sequence[StageUse]]) -> Level:
    """``uses``: for each round, what every stage did."""
    between = [gap for each in rounds for gap in each.gaps]
    return Level(
        concurrency=concurrency,
        rounds=len(rounds),
        prompt_rate=spread([each.prompt_rate for each in rounds]),
        decode_rate=spread([each.decode_rate for each in rounds if each.decode_rate is not None]),
        decode_tokens=spread([each.window_tokens for each in rounds]),
        first_token=spread([first for each in rounds for first in each.first_token]),
        gaps=Gaps(
            count=len(between),
            p50=percentile(between, 0.5),
            p99=percentile(between, 0.99),
            longest=max(between),
        )
        if between
        else Gaps(),
        tokens=sum(each.tokens for each in rounds),
        ended_early=sum(each.ended_early for each in rounds),
        stages=tuple(_median_use(of_one) for of_one in zip(*uses, strict=True)),
    )


def _median_use(uses: Sequence[StageUse]) -> StageUse:
    known = [use for use in uses if use.known]
    if not known:
        return uses[0]
    return StageUse(
        rank=known[0].rank,
        host=known[0].host,
        known=True,
        steps=sum(use.steps for use in known),
        busy_share=percentile([use.busy_share for use in known], 0.5),
        link_share=percentile([use.link_share for use in known], 0.5),
        link_milliseconds=percentile([use.link_milliseconds for use in known], 0.5),
    )


def table(bench: Bench) -> str:
    """For a person: a line a level, then a line for each stage of a level."""
    lines = [
        f"{bench.ring}  {bench.model}  {bench.ranks} rank{'s' if bench.ranks > 1 else ''}: prompts of "
        f"{bench.prompt_tokens} tokens, answers of {bench.max_tokens}, {bench.repeat} rounds a level",
        "",
        "at once  prompt tok/s     decode tok/s (low..high)     first token      gap p50      gap p99",
    ]
    for each in bench.levels:
        rate = each.decode_rate
        decode = f"{rate.median:.1f} ({rate.low:.1f}..{rate.high:.1f})" if rate.count else "-"
        between = each.gaps
        p50, p99 = (_time(between.p50), _time(between.p99)) if between.count else ("-", "-")
        lines.append(
            f"{each.concurrency:>7}  {each.prompt_rate.median:>12.1f}  {decode:>27}  "
            f"{_time(each.first_token.median):>14}  {p50:>11}  {p99:>11}"
        )
    lines += ["", "at once  rank  host           steps    busy  in receive   receive a step"]
    for each in bench.levels:
        for use in each.stages:
            shares = (
                f"{use.steps:>7}  {use.busy_share:>6.0%}  {use.link_share:>10.0%}  "
                f"{use.link_milliseconds:>12.2f} ms"
                if use.known
                else f"{'-':>7}  {'-':>6}  {'-':>10}  {'-':>15}"
            )
            lines.append(f"{each.concurrency:>7}  {use.rank:>4}  {use.host:<12.12} {shares}")
    early = sum(each.ended_early for each in bench.levels)
    if early:
        lines += ["", f"{early} answers ended before {bench.max_tokens} tokens: {bench.early_end}"]
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"
