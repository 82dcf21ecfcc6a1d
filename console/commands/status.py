"""``mlxring status``: what runs, where, how fast. Exit code 0 serving, 6 failed, 8 not running."""

import argparse

from console.commands.folding import folded, width
from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from console.logs.text import safe_line, safe_text
from console.state import ClusterState
from ringcore.spec.errors import NotRunning, RingError
from ringcore.spec.units import format_bytes


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        running = await session.operator.replay()
        state = session.state
        if arguments.json:
            answer({"running": running, "state": state})
        else:
            say(table(state, width()))
        if state.ring_phase == "failed":
            return RingError.exit_code
        return 0 if running else NotRunning.exit_code

    return with_cluster(arguments, act, quiet=True)


def table(state: ClusterState, width: int = 0) -> str:
    """The ring in a few lines for a person; what has words is folded to ``width`` cells, rows are not."""
    ready = sum(host.phase == "ready" and not host.lost for host in state.hosts)
    stages = state.plan.stages if state.plan else ()
    wide = max(len("host"), *(len(host.name) for host in state.hosts))
    title = (
        f"{state.name}  {state.model}  {(state.ring_phase or 'not running').upper()}  epoch {state.epoch}  "
        f"{ready}/{len(stages) or len(state.hosts)} ranks  {state.tokens_per_second:.1f} tok/s  "
        f"TTFT {state.first_token_seconds:.2f} s  {state.api_url}"
    )
    lines = [
        *folded([title], width),
        "",
        f"rank  {'host':<{wide}}  phase      layers      steps"
        "   resident    weights         KV  computes with",
    ]
    for host in state.hosts:
        shard = stages[host.rank].shard if host.rank < len(stages) else None
        layers = f"{shard.start}..{shard.end - 1}" if shard else "-"
        memory = host.memory
        sizes = (memory.resident_bytes, memory.weight_bytes, memory.kv_bytes) if memory else (0, 0, 0)
        row = "  ".join(f"{format_bytes(size) if memory else '-':>9}" for size in sizes)
        seat = "-" if stages and shard is None else str(host.rank)  # the plan leaves it out
        phase = "lost" if host.lost else host.phase or "-"
        lines.append(
            f"{seat:>4}  {host.name:<{wide}}  {phase:<9}  {layers:<8} {host.steps:>8}  {row}"
            f"  {safe_line(host.computes_with) or '-'}"
        )
    lines += [
        safe_text(f"\nrank {host.rank} on {host.name} is short of memory: {host.pressure.text}")
        for host in state.hosts
        if host.pressure and host.phase == "ready"
    ]
    kept = prefix_table(state)
    lines += ["", *kept] if kept else []
    failure = state.failure or next((host.failure for host in state.hosts if host.failure), None)
    if failure:
        lines += ["", *folded(safe_text(str(failure)).splitlines(), width)]
    return "\n".join(lines)


def prefix_table(state: ClusterState) -> list[str]:
    """What each rank keeps of earlier sequences, and what that was good for; or why it keeps nothing."""
    known = [(host.rank, host.memory.prefix) for host in state.hosts if host.memory and host.memory.prefix]
    uncached = sorted({name for _, used in known for name in used.uncached})
    kept = [(rank, used) for rank, used in known if not used.uncached]
    if uncached:
        return [safe_text(f"prefix cache: not kept: {', '.join(uncached)}, which cannot be cut into blocks")]
    if not kept:
        return []
    lines = ["rank  prefix cache     blocks     hits  tokens reused  evicted    on disk  damaged"]
    for rank, used in kept:
        lines.append(
            f"{rank:>4}  {format_bytes(used.bytes):>12}  {used.blocks:>9}  {used.hits:>7}"
            f"  {used.reused_tokens:>13}  {used.evicted:>7}  {format_bytes(used.disk_bytes):>9}"
            f"  {used.damaged:>7}"
        )
    came = [(rank, used) for rank, used in kept if used.brought or used.missed]
    return lines + [
        f"rank {rank}: {used.brought} blocks of {format_bytes(used.brought_bytes)} came from other hosts"
        + (f", {used.missed} were asked for in vain" if used.missed else "")
        for rank, used in came
    ]
