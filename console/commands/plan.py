"""``mlxring plan``: which rank would hold which layers; reads the hosts, starts nothing."""

import argparse

from console.commands.runtime import Session, answer, configure_profile, say, with_cluster
from ringcore.spec.plan import Plan
from ringcore.spec.units import format_bytes


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)


def run(arguments: argparse.Namespace) -> int:
    async def act(session: Session) -> int:
        plan = await session.operator.plan()
        if arguments.json:
            answer(plan)
        else:
            say(table(plan))
        return 0

    return with_cluster(arguments, act)


def table(plan: Plan) -> str:
    """The plan for a person: a row a rank, the layer map, the planner's explanation."""
    lines = [
        f"{plan.model}  {plan.architecture}  {plan.dtype}  context {plan.context} x {plan.sequences}"
        f"  order {plan.order}  plan {plan.digest}",
        "",
        "rank  host          layers     weights       KV    work  reserve  ceiling     free",
    ]
    for stage in plan.stages:
        sizes = (
            stage.weight_bytes,
            stage.caches_bytes,
            stage.workspace_bytes,
            stage.reserve_bytes,
            stage.ceiling_bytes,
            stage.free_bytes,
        )
        shard = f"{stage.shard.start}..{stage.shard.end - 1}"
        row = "  ".join(f"{format_bytes(size):>8}" for size in sizes)
        lines.append(f"{stage.rank:>4}  {stage.host:<12}  {shard:<8} {row}")
    cells = "".join(str(stage.rank) * stage.shard.count for stage in plan.pipeline)
    return "\n".join([*lines, "", f"layers  {cells}", "", *plan.explanation])
