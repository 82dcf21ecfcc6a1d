"""Pane 3: what each rank holds in memory, against its ceiling, on a scale that never moves."""

from collections.abc import Iterator, Sequence

from textual.content import Content

from console.logs.text import safe_line
from console.screen.panes.pane import TextPane
from console.screen.phrases import fitted
from console.screen.picture import Picture
from console.screen.theme import BAD, DIM, badge, fit_name
from console.state import HostView
from ringcore.spec.events import MemoryUsed, PrefixUsed
from ringcore.spec.plan import Stage
from ringcore.spec.units import GIB, MIB, format_bytes

# "kept": of sequences that are over, so that the next one need not compute the same beginning.
_PARTS = (
    ("█", "weights", "$primary"),
    ("▓", "KV", "$success"),
    ("▚", "kept", "$secondary"),
    ("▒", "workspace", "$warning"),
)
Sizes = tuple[int, int, int, int]
_FREE = "·"


class MemoryPane(TextPane):
    NAME = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.border_subtitle = _legend()

    def draw(self, picture: Picture, width: int) -> Content:
        known = any(host.memory for host in picture.state.hosts)
        if picture.plan is None and not known:
            return Content.styled("Not known yet: a plan says what each rank will hold.", DIM)
        rows = [_row(host, picture.stage(host.rank), width) for host in picture.state.hosts]
        return Content("\n").join([*rows, *_kept(picture.state.hosts, width)])


def _kept(hosts: Sequence[HostView], width: int) -> Iterator[Content]:
    """What all ranks together keep of earlier prompts, which are the same ones on each; or why nothing."""
    kept = [host.memory.prefix for host in hosts if host.memory and host.memory.prefix]
    names = {name for each in kept for name in each.uncached}
    if names:
        yield Content.styled(safe_line(f"earlier prompts: not kept: {', '.join(sorted(names))}"), DIM)
    elif any(each.blocks or each.disk_blocks for each in kept):
        yield Content.styled(fitted(_kept_words(kept), width), DIM)


def _kept_words(kept: Sequence[PrefixUsed]) -> Iterator[str]:
    yield f"kept {kept[0].blocks:,} blocks, {format_bytes(sum(each.bytes for each in kept))}"
    if kept[0].hits:
        yield f"{kept[0].hits:,} hit{'s' * (kept[0].hits > 1)}, {kept[0].reused_tokens:,} tokens"
    if any(each.disk_blocks for each in kept):
        most = max(each.disk_blocks for each in kept)
        yield f"disk {most:,} blocks, {format_bytes(sum(each.disk_bytes for each in kept))}"


def used_of(used: int, ceiling: int) -> str:
    """``9.1/12 GiB``: both in the ceiling's unit."""
    unit, name = (GIB, "GiB") if ceiling >= GIB else (MIB, "MiB")
    whole = f"{ceiling / unit:.1f}".removesuffix(".0")
    return f"{used / unit:.1f}/{whole} {name}"


def _row(host: HostView, stage: Stage | None, width: int) -> Content:
    memory = host.memory
    if memory is not None:
        sizes = held(memory)
        ceiling = stage.ceiling_bytes if stage else memory.resident_bytes + memory.available_bytes
    elif stage is not None:
        sizes = planned(stage)
        ceiling = stage.ceiling_bytes
    else:
        return Content.assemble(badge(host.rank), " ", (f"{host.name}: not known", DIM))
    name_width = 8 if width < 70 else 16
    figures = f"{used_of(sum(sizes), ceiling)}{'' if memory else ' plan'}"
    bar_width = max(6, width - name_width - 24)
    over = sum(sizes) > ceiling
    return Content.assemble(
        badge(host.rank),
        f" {fit_name(host.name, name_width)} [",
        *memory_bar(sizes, ceiling, bar_width, dim=memory is None),
        "] ",
        (f"{'! ' if over else ''}{figures}", BAD if over else DIM if memory is None else "bold"),
    )


def planned(stage: Stage) -> Sizes:
    """What the plan gives to each part of a rank's memory, as `memory_bar` draws it."""
    return stage.weight_bytes, stage.kv_bytes, stage.prefix_bytes, stage.workspace_bytes


def held(memory: MemoryUsed) -> Sizes:
    kept = memory.prefix.bytes if memory.prefix else 0
    return memory.weight_bytes, memory.kv_bytes, kept, memory.workspace_bytes


def memory_bar(sizes: Sizes, ceiling: int, width: int, dim: bool) -> list[tuple[str, str]]:
    """``width`` cells by cumulated share, so that rounding never adds up; anything above zero gets one."""
    segments: list[tuple[str, str]] = []
    total, filled = 0, 0
    for index, (size, (glyph, _, color)) in enumerate(zip(sizes, _PARTS, strict=True)):
        total += max(0, size)
        room = width - sum(later > 0 for later in sizes[index + 1 :])
        share = round(total / ceiling * width) if ceiling > 0 else width
        until = max(filled, min(room, max(share, filled + 1))) if size > 0 else filled
        segments.append((glyph * (until - filled), f"{color}{' 60%' if dim else ''}"))
        filled = until
    segments.append((_FREE * (width - filled), DIM))
    return segments


def _legend() -> Content:
    entries: list[str | tuple[str, str]] = []
    for glyph, name, color in _PARTS:
        entries += [(glyph, color), (f" {name}  ", DIM)]
    return Content.assemble(*entries, (f"{_FREE} free", DIM))


def memory_lines(host: HostView, stage: Stage | None) -> list[tuple[str, str]]:
    """Every figure with its name, for the details of one host."""
    lines: list[tuple[str, str]] = []
    if stage is not None:
        lines.append(("ceiling", f"{format_bytes(stage.ceiling_bytes)} ({stage.ceiling_source})"))
        lines.append(("planned", _parts(planned(stage))))
        lines.append(("kept free", format_bytes(stage.reserve_bytes)))
    memory = host.memory
    if memory is not None:
        lines.append(("used", _parts(held(memory))))
        lines.append(("resident", format_bytes(memory.resident_bytes)))
        lines.append(("available", format_bytes(memory.available_bytes)))
        kept = memory.prefix
        if kept is not None and kept.uncached:
            lines.append(("kept", safe_line(f"not kept: {', '.join(kept.uncached)}")))
        elif kept is not None:
            words = "block" if kept.blocks == 1 else "blocks"
            good = f"{kept.hits:,} hits reused {kept.reused_tokens:,} tokens, {kept.evicted:,} blocks evicted"
            lines.append(("kept", f"{kept.blocks:,} {words}, {format_bytes(kept.bytes)}; {good}"))
        if kept is not None and (kept.disk_blocks or kept.damaged):
            lines.append(("on disk", _on_disk(kept)))
    if host.pressure is not None:
        lines.append(("memory", f"{host.pressure.level}: {host.pressure.text}"))
    return lines


def _on_disk(kept: PrefixUsed) -> str:
    text = f"{kept.disk_blocks:,} blocks, {format_bytes(kept.disk_bytes)}"
    if kept.brought:
        text += f"; {kept.brought:,} blocks came from other hosts"
    if kept.damaged:
        text += f"; {kept.damaged:,} damaged {'file' if kept.damaged == 1 else 'files'} removed"
    return text


def _parts(sizes: Sizes) -> str:
    named = zip(sizes, _PARTS, strict=True)
    return ", ".join(f"{format_bytes(size)} {name}" for size, (_, name, _) in named if size)
