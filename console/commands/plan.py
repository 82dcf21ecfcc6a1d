"""``mlxring plan``: which rank would hold which layers; reads the hosts, starts nothing."""

import argparse
from collections.abc import Iterator

from console.commands.folding import cells, folded, width
from console.commands.runtime import Session, answer, configure_profile, run_session, say
from console.commands.what_if import HELP, changed, changes
from ringcore.planning.mixed import may_leave_out
from ringcore.spec.errors import PlanError
from ringcore.spec.plan import Plan, Stage
from ringcore.spec.profile import Profile
from ringcore.spec.units import format_bytes

# "KV" is of running sequences, "prefix" of those that are over and may begin again.
_COLUMNS = ("weights", "KV", "prefix", "work", "reserve", "ceiling", "free", "step")


def configure(parser: argparse.ArgumentParser) -> None:
    configure_profile(parser)
    parser.add_argument("--what-if", metavar="KEY=VALUE,...", default="", help=HELP)


def run(arguments: argparse.Namespace) -> int:
    from ringcore.spec.profile_file import load_profile

    wanted = changes(arguments.what_if)
    as_it_is = load_profile(arguments.profile)
    asked = changed(as_it_is, wanted) if wanted else as_it_is

    async def act(session: Session) -> int:
        plan = await session.operator.plan()
        if arguments.json:
            answer(plan)
            return 0
        say(table(plan, width()))
        if wanted and _same_machines(session, asked, as_it_is):
            say("\n" + _compared(session, as_it_is, plan))
        return 0

    accept = bool(arguments.accept_new_host_keys)
    return run_session(Session(asked, accept_new_host_keys=accept), act)


def table(plan: Plan, width: int = 0) -> str:
    """The plan for a person: a row a rank, the layer map, the planner's explanation; what has words or cells
    is folded to ``width`` cells, rows are not."""
    wide = max(len("host"), *(len(stage.host) for stage in plan.stages))
    names = " ".join(f"{name:>9}" for name in _COLUMNS)
    bits = f"  KV {plan.kv_bits} bits" if plan.kv_bits else ""
    title = (
        f"{plan.model}  {plan.architecture}  {plan.dtype}  context {plan.context} x {plan.sequences}{bits}"
        f"  order {plan.order}  plan {plan.digest}"
    )
    lines = [
        *folded([title], width),
        "",
        f"rank  {'host':<{wide}}  {'layers':<8} {names}",
    ]
    for stage in plan.stages:
        shard = f"{stage.shard.start}..{stage.shard.end - 1}"
        sizes = " ".join(f"{cell:>9}" for cell in _sizes(stage))
        lines.append(f"{stage.rank:>4}  {stage.host:<{wide}}  {shard:<8} {sizes}")
    layers = "".join(str(stage.rank) * stage.shard.count for stage in plan.pipeline)
    lines += ["", *cells("layers  ", layers, width), "", *folded(plan.explanation, width)]
    return "\n".join(lines)


def _sizes(stage: Stage) -> Iterator[str]:
    """One for each of the columns."""
    yield from map(
        format_bytes,
        (
            stage.weight_bytes,
            stage.kv_bytes,
            stage.prefix_bytes,
            stage.workspace_bytes,
            stage.reserve_bytes,
            stage.ceiling_bytes,
            stage.free_bytes,
        ),
    )
    yield f"{stage.seconds * 1000:.1f} ms"


def _same_machines(session: Session, asked: Profile, as_it_is: Profile) -> bool:
    """Whether what was read of the hosts and the model says as much of the profile as it is."""
    names = [host.name for host in asked.hosts]
    if names != [host.name for host in as_it_is.hosts]:
        return False
    told = [session.operator.facts[name] for name in names]
    read, wanted = may_leave_out(asked, told), may_leave_out(as_it_is, told)
    same = (asked.model, asked.ring.dtype) == (as_it_is.model, as_it_is.ring.dtype)
    return same and (read or not wanted)


def _compared(session: Session, as_it_is: Profile, plan: Plan) -> str:
    try:
        now = session.operator.planned_for(as_it_is)
    except PlanError as error:
        return f"as the profile is, it does not work: {error.failure.cause.splitlines()[0]}"
    rows = [
        ("layers, rank 0 first", _layers(now), _layers(plan)),
        ("slowest step", _slowest(now), _slowest(plan)),
        ("tokens/s, one conversation", f"{now.tokens_per_second:.1f}", f"{plan.tokens_per_second:.1f}"),
        (
            "tokens/s, all sequences",
            f"{now.tokens_per_second_together:.1f} of {now.sequences}",
            f"{plan.tokens_per_second_together:.1f} of {plan.sequences}",
        ),
        ("fullest host", _fullest(now), _fullest(plan)),
    ]
    wide = max(len(row[1]) for row in rows)
    head = f"{'':<28}{'the profile':<{max(wide, 11)}}  what if"
    return "\n".join([head, *(f"{name:<28}{old:<{max(wide, 11)}}  {new}" for name, old, new in rows)])


def _layers(plan: Plan) -> str:
    return ", ".join(f"{stage.host} {stage.shard.count}" for stage in plan.stages)


def _slowest(plan: Plan) -> str:
    slowest = max(plan.stages, key=lambda stage: stage.seconds)
    return f"{slowest.seconds * 1000:.1f} ms on {slowest.host}"


def _fullest(plan: Plan) -> str:
    shares = {stage.host: stage.need_bytes / max(1, stage.ceiling_bytes) for stage in plan.stages}
    host = max(shares, key=lambda name: shares[name])
    return f"{host}, {shares[host]:.0%} of its ceiling"
