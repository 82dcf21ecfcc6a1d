"""A split of layers as text: the map, each rank's memory and step, and what it brings. Pure."""

from collections.abc import Iterator

from msgspec import Struct
from textual.content import Content
from textual.style import Style

from console.logs.text import safe_line
from console.screen.panes.memory import memory_bar, planned, used_of
from console.screen.theme import BAD, DIM, INK, badge, fit_name, rank_color
from ringcore.planning.evaluate import Evaluation
from ringcore.spec.plan import Plan, Stage

_GUTTER = 5  # number of the row's first layer
_NOTICEABLE = 0.005


class Split(Struct, frozen=True, kw_only=True):
    """``now`` is what the boundaries say, ``before`` what the plan says. ``chosen``: the boundary that the
    arrows move, counted along the way of a hidden state."""

    plan: Plan
    before: Evaluation
    now: Evaluation
    chosen: int

    @property
    def pipeline(self) -> tuple[Stage, ...]:
        return tuple(sorted(self.now.stages, key=lambda stage: stage.shard.start))

    @property
    def around(self) -> tuple[Stage, Stage]:
        """The stages at both sides of the chosen boundary."""
        return self.pipeline[self.chosen], self.pipeline[self.chosen + 1]


def draw_split(split: Split, width: int) -> Content:
    """The whole text in ``width`` cells."""
    return Content("\n").join(
        [
            *_map(split, width),
            Content(""),
            *_ranks(split, width),
            Content(""),
            *_outcome(split),
        ]
    )


def layers_line(split: Split) -> str:
    """The line of the profile: ``layers = [10, 9, 9]``."""
    return f"layers = {list(split.now.layers)}"


def _map(split: Split, width: int) -> Iterator[Content]:
    """Rows of layers; a mark under the row in which the chosen boundary lies."""
    total = split.now.stages[0].shard.total
    boundary = split.around[0].shard.end
    room = max(8, width - _GUTTER)
    size = 2 if total * 2 <= room else 1
    per_row = room // size
    if total > per_row and per_row >= 10:
        per_row -= per_row % 10
    cells = [
        (str(stage.rank).ljust(size), Style(background=rank_color(stage.rank), foreground=INK, bold=True))
        for stage in split.pipeline
        for _ in range(stage.shard.count)
    ]
    for start in range(0, total, per_row):
        label = Content.styled(f"{start:>{_GUTTER - 1}} ", DIM)
        yield label + Content.assemble(*cells[start : start + per_row])
        if start < boundary <= start + per_row:
            left, right = split.around
            column = _GUTTER + (boundary - start) * size
            words = f"{left.shard.end - 1}|{right.shard.start}"
            at = max(0, min(column - 1 - len(words.split("|")[0]), width - len(words) - 2))
            yield Content(" " * at) + Content.assemble(("◀" + words + "▶", "bold $text-accent"))


def _ranks(split: Split, width: int) -> Iterator[Content]:
    name = 8 if width < 80 else 16
    bar = max(6, width - name - 58) if width >= 68 else 0
    head = (
        f"    {'host':<{name}} {'layers':<12} {'needs / may use':<{bar + (19 if bar else 16)}}{'a step':>9}"
    )
    yield Content.styled(head, DIM)
    beside = {stage.rank for stage in split.around}
    for stage in split.pipeline:
        shard = stage.shard
        usable = max(0, stage.ceiling_bytes - stage.reserve_bytes)
        over = stage.free_bytes < 0
        slowest = stage.rank == split.now.rates.slowest and len(split.now.stages) > 1
        yield Content.assemble(
            ("▸ " if stage.rank in beside else "  ", "bold $text-accent"),
            badge(stage.rank),
            f" {fit_name(safe_line(stage.host), name)} ",
            f"{f'{shard.start}..{shard.end - 1}':<7} ",
            (f"{f'({shard.count})':<4} ", DIM),
            *(("[", *memory_bar(planned(stage), usable, bar, dim=False), "] ") if bar else ()),
            (
                f"{('! ' if over else '') + used_of(stage.need_bytes, usable):<16}",
                f"bold {BAD}" if over else "",
            ),
            (f"{milliseconds(stage.seconds):>9}", "bold" if slowest else ""),
            (" slowest" if slowest else "", "$text-warning"),
        )


def _outcome(split: Split) -> Iterator[Content]:
    now, before = split.now.rates, split.before.rates
    alone = _figure(now.alone, before.alone, "tok/s of one conversation")
    together = _figure(now.together, before.together, f"tok/s of {split.plan.sequences} together")
    slowest = split.now.stages[now.slowest]
    yield Content.assemble(("expected   ", DIM), *alone)
    if split.plan.sequences > 1:
        yield Content.assemble(("           ", DIM), *together)
    yield Content.assemble(
        ("slowest    ", DIM),
        badge(slowest.rank),
        f" {safe_line(slowest.host)}, {milliseconds(now.step_seconds)} a step",
        (f"  before {milliseconds(before.step_seconds)}", DIM),
    )
    yield Content.assemble(("profile    ", DIM), (layers_line(split), "bold"))
    if split.now.fits:
        yield Content.assemble(("memory     ", DIM), ("every rank has room", "$text-success"))
    for sentence in split.now.over:
        yield Content.styled(f"✗ {safe_line(sentence)}", f"bold {BAD}")
    if not split.now.fits:
        yield Content.styled("so this split cannot be written; move a boundary away from that rank", BAD)


def _figure(now: float, before: float, what: str) -> list[str | tuple[str, str]]:
    """``14.2 tok/s  +3% (before 13.8)``: the sign says it without colour."""
    parts: list[str | tuple[str, str]] = [(f"{now:.1f}", "bold"), f" {what}"]
    change = now / before - 1 if before > 0 else 0.0
    if abs(change) >= _NOTICEABLE:
        style = "$text-success" if change > 0 else "$text-warning"
        parts += [(f"  {change:+.0%}" if abs(change) >= 0.01 else f"  {change:+.1%}", style)]
        parts += [(f"  before {before:.1f}", DIM)]
    return parts


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
